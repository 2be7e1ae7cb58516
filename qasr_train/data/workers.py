"""Owns turning planned batches into tensors in loader workers: decoding and collating, with what would not decode.

Input: utterances and a plan of index lists. Output: `LoadedBatch`es in the order of the plan.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch.utils.data import DataLoader, Dataset

from qasr_train.audio.decode import load_audio
from qasr_train.augment.clip_changes import NO_CHANGES, Changes
from qasr_train.augment.variants import Variant, variant_waveform
from qasr_train.batch import IGNORED, Batch, FailedAudio, Recording, Reference
from qasr_train.errors import AudioError, TrainingError, UserError
from qasr_train.manifest import Utterance
from qasr_train.models.base import TrainingCollator
from qasr_train.run.processes import check_num_workers
from qasr_train.sources.table import Joined

_DEAD_WORKER = re.compile(r"DataLoader worker \(pid.*?[\d, ]+\) (?:is )?(killed by signal: [\w ]+|exited unexpectedly)")


@dataclass(frozen=True, slots=True)
class LoadedBatch:
    """What a loader worker hands over: the batch, and the clips that are not in it because they would not decode."""

    batch: Batch
    failed: list[FailedAudio]


# The recordings of a batch, and those of them that cannot be read.
LoadRows = Callable[[Sequence[Utterance]], tuple[list[Recording], list[FailedAudio]]]


class PlannedBatches(Dataset[LoadedBatch | UserError]):
    """Batch i of a plan, decoded, changed and collated; runs in loader workers.

    changes: what is done to the recordings of `epoch`. load: what gives the recordings.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        plan: Sequence[list[int]],
        collator: TrainingCollator,
        *,
        epoch: int = 0,
        changes: Changes = NO_CHANGES,
        load: LoadRows | None = None,
    ) -> None:
        self.utterances, self.plan, self.collator = utterances, plan, collator
        self.load = load or load_recordings
        self.epoch, self.changes = epoch, changes

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> LoadedBatch | UserError:
        try:
            return self._load(index)
        except UserError as error:
            return error  # as a value: torch would hand on the text of a traceback

    def _load(self, index: int) -> LoadedBatch:
        rows = [self.utterances[i] for i in self.plan[index]]
        sources = {id(row): self._source_of(i, row) for i, row in zip(self.plan[index], rows, strict=True)}
        loaded, failed = self.load(rows)
        recordings = []
        for recording in loaded:
            try:
                named = replace(recording, source=sources[id(recording.utterance)])
                recordings.append(self.changes.recording(named, self.epoch))
            except AudioError as error:
                failed.append(FailedAudio(recording.utterance.id, str(error)))
        if recordings:
            return LoadedBatch(self._collate(recordings), failed)
        return LoadedBatch(_nothing_to_learn(self.utterances[0], self.collator), failed)

    def _source_of(self, index: int, utterance: Utterance) -> str:
        """The source of a row; added silence comes from none."""
        is_made = isinstance(utterance, Variant) and utterance.is_silence
        return self.utterances.name_of(index) if isinstance(self.utterances, Joined) and not is_made else ""

    def _collate(self, recordings: list[Recording]) -> Batch:
        batch = replace(
            self.collator.for_training(recordings),
            sources=[r.source for r in recordings],
            references=[
                Reference((r.utterance.text or "").strip(), r.utterance.language, r.utterance.context or "")
                for r in recordings
            ],
        )
        return self.changes.features(batch, [r.utterance for r in recordings], self.epoch)


def load_recordings(
    utterances: Sequence[Utterance], load: Callable[[Utterance], Recording] | None = None
) -> tuple[list[Recording], list[FailedAudio]]:
    """Each utterance by `load` (None: from its file), and what failed with its reason."""
    recordings, failed = [], []
    for utterance in utterances:
        try:
            recordings.append((load or load_recording)(utterance))
        except AudioError as error:
            failed.append(FailedAudio(utterance.id, str(error)))
    return recordings, failed


def load_recording(utterance: Utterance) -> Recording:
    """Decode an utterance's audio to 16 kHz mono; a `Variant` is put together of what it is made of.

    Raises:
        AudioError: it cannot be decoded.
    """
    if isinstance(utterance, Variant):
        return Recording(utterance, variant_waveform(utterance, lambda part: load_recording(part).waveform))
    waveform = load_audio(
        utterance.audio, start_s=utterance.start_s, end_s=utterance.end_s, channel=utterance.channel, name=utterance.id
    )
    return Recording(utterance, waveform)


def _nothing_to_learn(utterance: Utterance, collator: TrainingCollator) -> Batch:
    """A batch without targets: every process must still run its step when its batch is empty or all its clips fail."""
    silence = torch.zeros(8000).numpy()
    batch = collator.for_training([Recording(replace(utterance, text=""), silence)])
    assert batch.labels is not None
    return replace(batch, ids=[], labels=torch.full_like(batch.labels, IGNORED), duration_s=torch.zeros(1))


def make_loader(
    dataset: PlannedBatches, *, num_workers: int, prefetch_batches: int, pin_memory: bool = False
) -> Iterator[LoadedBatch]:
    """The batches in the order of the plan; closing the iterator ends its workers.

    Raises:
        UserError: what is wrong with a row, as a worker found it; `num_workers` is no number of processes. RuntimeError: see
            `explain_dead_workers`.
    """
    check_num_workers(num_workers, at_least=0)
    loader = DataLoader(
        dataset,
        batch_size=None,
        shuffle=False,
        num_workers=num_workers,
        prefetch_factor=prefetch_batches if num_workers else None,
        pin_memory=pin_memory,
        worker_init_fn=_start_worker if num_workers else None,
        # A loader draws a seed from its generator; from the global one it would shift dropout after a resume.
        generator=torch.Generator().manual_seed(0),
    )
    for loaded in loader:
        if isinstance(loaded, UserError):
            raise loaded
        yield loaded


@contextmanager
def explain_dead_workers() -> Iterator[None]:
    """Turn torch's report that a loader worker died, which may come up at any line of the main process, into a sentence.

    Raises:
        TrainingError: a worker was killed, as the system does to the largest process where memory runs out, or crashed.
    """
    try:
        yield
    except RuntimeError as error:
        if not (found := _DEAD_WORKER.search(str(error))):
            raise
        advice = "free memory, lower data.num_workers, data.prefetch_batches or data.batch_seconds"
        if "shared memory" in str(error):
            advice = "give the machine more shared memory (of a container: --shm-size), or lower data.prefetch_batches"
        raise TrainingError(
            f"a loader worker died ({found[1].strip()}), most often because memory ran out; {advice}, and go on with "
            "resume=true"
        ) from None


def _start_worker(worker_id: int) -> None:
    import signal

    torch.set_num_threads(1)
    # Ctrl-C, and SIGTERM of a cluster, reach the whole process group; the main process decides when its workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
