"""Owns the cache of what a frozen encoder makes of each clip: computed once before the first step, read from then on.

Input: a model whose encoder and projector are not trained, and the clips of a run. Output: their encodings on disk, and a
way to load batches of them. For runs that leave the sound of a clip as it is in every epoch.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import transformers
from tqdm import tqdm

from qasr_train.audio.decode import SAMPLE_RATE_HZ
from qasr_train.batch import Batch, FailedAudio, Precomputed, Recording
from qasr_train.data.buckets import BatchBudget, sorted_batches
from qasr_train.data.feature_cache import CachedClip, CachedMels, FeatureCache, features_of, kind_of, mel_kind
from qasr_train.data.mixture import ListPool
from qasr_train.data.settings import CacheConfig
from qasr_train.data.workers import LoadRows, PlannedBatches, load_recordings, make_loader
from qasr_train.errors import ConfigError
from qasr_train.manifest import Utterance
from qasr_train.models.base import AudioEncoder, Trainable
from qasr_train.run.processes import ALONE, Processes


@dataclass(frozen=True)
class CachedEncodings:
    """Gives the recordings of a batch with their encodings; runs in loader workers.

    Where one is missing (a clip that cannot be read, a damaged entry) the whole batch is read from its files.
    """

    cache: FeatureCache

    def __call__(self, utterances: Sequence[Utterance]) -> tuple[list[Recording], list[FailedAudio]]:
        """See `LoadRows`."""
        recordings = []
        for utterance in utterances:
            key = self.cache.key(utterance)
            clip = self.cache.read(key) if key else None
            if clip is None:
                return load_recordings(utterances)
            held = Precomputed(clip.num_samples, encoded=torch.from_numpy(clip.values))
            recordings.append(Recording(utterance, np.zeros(0, np.float32), precomputed=held))
        return recordings, []


@dataclass(frozen=True)
class EncodingRun:
    """How encodings are made: batches of this budget on a device, by this of several processes.

    precision: of the forward pass, by name. autocast: makes the context of the forward pass in training, so that the
        encodings are those that training would see.
    """

    budget: BatchBudget
    num_workers: int
    device: torch.device
    precision: str
    autocast: Callable[[], AbstractContextManager[Any]]
    processes: Processes = ALONE


def open_cache(config: CacheConfig, model: Trainable, pools: Mapping[str, object], run: EncodingRun) -> LoadRows | None:
    """What gives the recordings of a run's batches; None: their files. Encodings are computed here, on the first call.

    Raises:
        ConfigError: see `open_encodings` and `fill_encodings`, or a source is streamed. DataError: an unusable directory.
    """
    if config.dir is None:
        return None
    if not config.encoder_outputs:
        return CachedMels.open(config, model.collator)
    encodings = open_encodings(config, model, precision=run.precision)
    for name, pool in pools.items():
        if not isinstance(pool, ListPool):
            raise ConfigError(
                f"data.cache.encoder_outputs=true: data.train.{name} is streamed, and its clips are not known before they "
                "are trained on; set it to false"
            )
        fill_encodings(encodings.cache, model, pool.utterances, run)
    return encodings


def open_encodings(config: CacheConfig, model: Trainable, *, precision: str) -> CachedEncodings:
    """The cache of a model's encodings, known by the weights of its encoder, so that no other model ever sees them.

    Args:
        config: where it lies.
        model: a loaded model with everything on it that is trained.
        precision: of the forward pass; part of what the encodings depend on.

    Raises:
        ConfigError: the encoder or the projector is trained, or the family cannot encode apart from decoding.
    """
    encoder = _encoder_of(model)
    trained = [name for name, parameter in encoder.audio_modules.named_parameters() if parameter.requires_grad]
    if trained:
        raise ConfigError(
            f"data.cache.encoder_outputs=true: {len(trained)} tensors of encoder and projector are trained (e.g. "
            f"{trained[0]}), so what they make of a clip changes with every step; set it to false, or adapt=lora_decoder"
        )
    kind = kind_of(
        "encoded",
        mel_kind(features_of(model.collator)),
        weights_digest(encoder.audio_modules),
        precision,
        transformers.__version__,
        encoder.encoder_version,
    )
    return CachedEncodings(FeatureCache.open(config, kind))


def _encoder_of(model: Trainable) -> AudioEncoder:
    if isinstance(model, AudioEncoder):
        return model
    raise ConfigError(
        "data.cache.encoder_outputs=true: this family does not encode apart from decoding; set it to false"
    )


def fill_encodings(cache: FeatureCache, model: Trainable, utterances: Iterable[Utterance], run: EncodingRun) -> int:
    """Encode the clips of this process that are not kept yet, each once; returns how many.

    Raises:
        ConfigError: the directory has no room for them all, or their values pass the range of half precision.
    """
    missing: dict[str, Utterance] = {}
    for utterance in utterances:
        key = cache.key(utterance)
        # A process's share follows from the key alone: each may see a different number of entries made by the others.
        is_own = key is not None and int(key, 16) % run.processes.num_processes == run.processes.rank
        if key is not None and is_own and not cache.holds(key):
            missing[key] = replace(utterance, id=key)  # ids may repeat between sources, keys do not
    rows = list(missing.values())
    durations_s = [one.duration_s or 0.0 for one in rows]
    plan = sorted_batches(durations_s, run.budget)
    loader = make_loader(PlannedBatches(rows, plan, model.collator), num_workers=run.num_workers, prefetch_batches=2)
    model.module.eval()
    num_made, room_bytes = 0, cache.max_bytes - cache.num_bytes()
    for loaded in tqdm(
        loader, total=len(plan), desc="encoding", unit="batch", disable=not (run.processes.is_main and plan)
    ):
        clips = _encode(model, loaded.batch, run)
        if not num_made and clips:
            bytes_per_s = sum(clip.values.nbytes for clip in clips.values()) / loaded.batch.audio_s
            _refuse_too_small(cache, bytes_per_s * sum(durations_s) * run.processes.num_processes, room_bytes)
        for key, clip in clips.items():
            cache.write(key, clip)
        num_made += len(clips)
    return num_made


def _refuse_too_small(cache: FeatureCache, needed_bytes: float, room_bytes: int) -> None:
    if needed_bytes > room_bytes:
        raise ConfigError(
            f"data.cache.max_gb={cache.max_bytes / 1e9:g}: the encodings of these clips take some {needed_bytes / 1e9:.2g} GB, "
            f"and {max(room_bytes, 0) / 1e9:.2g} are free; raise it, or set data.cache.encoder_outputs=false"
        )


@torch.no_grad()
def _encode(model: Trainable, batch: Batch, run: EncodingRun) -> dict[str, CachedClip]:
    """Key -> encoding of each row; ids of the batch are the keys."""
    encoder, log_mel = _encoder_of(model), features_of(model.collator)
    with run.autocast():
        encoded = encoder.encode(batch.to(run.device))
    half = encoded.to("cpu", torch.float16)
    if not half.isfinite().all():
        raise ConfigError(
            "data.cache.encoder_outputs=true: this encoder's outputs pass the range of half precision (65504); set it to false"
        )
    lengths = encoder.num_encoded(batch)
    if not batch.ids:  # none of its clips could be read, and silence stands for them
        return {}
    frames = batch.input_features_mask.sum(1).tolist()
    clips = {}
    for key, values, num_frames, seconds in zip(
        batch.ids, half.split(lengths), frames, batch.duration_s.tolist(), strict=True
    ):
        num_samples = round(seconds * SAMPLE_RATE_HZ)  # seconds are float32: exact up to 17 minutes
        if log_mel.num_frames(num_samples) != num_frames:
            num_samples = num_frames * log_mel.hop_samples
        clips[key] = CachedClip(values.numpy(), num_samples)
    return clips


def weights_digest(module: torch.nn.Module) -> bytes:
    """A digest of names, formats and values of all weights and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.digest()
