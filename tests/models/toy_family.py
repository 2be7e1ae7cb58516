"""Owns a toy family that trains and has nothing of Qwen3-ASR: no packing, no audio tokens, no chat template, no projector.

The energy of 20 ms frames, averaged over the clip, is added to the embedding of each character, which foretells the next one.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from qasr_train.batch import IGNORED, Batch, Recording
from qasr_train.errors import CheckpointError, ConfigError
from qasr_train.manifest import Utterance
from qasr_train.models.base import Hypothesis, TargetStates, Trainable, TrainingCollator
from qasr_train.models.settings import Capability, Parts, Recompute

FRAME_SAMPLES, WIDTH, NUM_TOKENS = 320, 16, 128
PAD, START, END = 0, 1, 2


@dataclass
class ToyConfig:
    path: str
    family: str = "toy"
    max_duration_s: float = 30.0

    def locations(self) -> list[str | None]:
        return [self.path]


class ToyCollator:
    log_mel = None  # its features are no log-mel, so nothing keeps them
    audio_id = None

    def for_training(self, recordings: Sequence[Recording]) -> Batch:
        return self._collate(recordings, [[START, *self._target(one.utterance)] for one in recordings], supervised=True)

    def for_transcription(self, recordings: Sequence[Recording], *, language: str | None, use_context: bool) -> Batch:
        return self._collate(recordings, [[START]] * len(recordings), supervised=False)

    def num_target_tokens(self, utterance: Utterance) -> int:
        return len(self._target(utterance))

    def token_text(self, token_id: int) -> str:
        return chr(token_id) if token_id > END else f"<{token_id}>"

    def _target(self, utterance: Utterance) -> list[int]:
        return [*((utterance.text or "").encode("ascii", "replace")), END]

    def _collate(self, recordings: Sequence[Recording], rows: list[list[int]], *, supervised: bool) -> Batch:
        tokens = [torch.tensor(row) for row in rows]
        energies = [torch.from_numpy(one.waveform).split(FRAME_SAMPLES) for one in recordings]
        frames = [torch.stack([part.square().mean() for part in parts]) for parts in energies]
        input_ids = nn.utils.rnn.pad_sequence(tokens, batch_first=True, padding_value=PAD)
        return Batch(
            ids=[one.utterance.id for one in recordings],
            input_ids=input_ids,
            attention_mask=(input_ids != PAD).long(),
            labels=input_ids.masked_fill(input_ids <= START, IGNORED) if supervised else None,
            input_features=nn.utils.rnn.pad_sequence(frames, batch_first=True)[:, None],
            input_features_mask=nn.utils.rnn.pad_sequence(
                [torch.ones(len(f)).long() for f in frames], batch_first=True
            ),
            duration_s=torch.tensor([one.num_samples / 16_000 for one in recordings]),
        )


class ToyModel(nn.Module):
    """The module of weights, as transformers' would be."""

    def __init__(self) -> None:
        super().__init__()
        self.listener = nn.ModuleDict({"energy": nn.Linear(1, WIDTH)})
        self.writer = nn.ModuleDict({"letters": nn.Embedding(NUM_TOKENS, WIDTH), "mix": nn.Linear(WIDTH, WIDTH)})
        self.scores = nn.Linear(WIDTH, NUM_TOKENS, bias=False)

    def forward(self, batch: Batch) -> torch.Tensor:
        """float [B, T, D]: what stands before the scores of the next token."""
        mask = batch.input_features_mask[..., None]
        heard = (self.listener["energy"](batch.input_features.transpose(1, 2)) * mask).sum(1) / mask.sum(1)
        return torch.tanh(self.writer["mix"](self.writer["letters"](batch.input_ids) + heard[:, None]))


class Toy(nn.Module):
    family = "toy"
    capabilities = frozenset({Capability.TOKEN_LOSS})
    parts = Parts(encoder="listener", decoder="writer", embeddings="writer.letters", head="scores")

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module, self.collator = module, ToyCollator()

    def forward(self, batch: Batch, reduce: Any = TargetStates.token_logits) -> Any:
        row, column = (batch.labels != IGNORED).nonzero(as_tuple=True)
        hidden = self.module(batch)[row, column - 1]
        return reduce(TargetStates(hidden, self.module.scores, targets=batch.labels[row, column], row=row))

    @torch.no_grad()
    def transcribe(self, batch: Batch, *, max_new_tokens: int) -> list[Hypothesis]:
        for _ in range(max_new_tokens):
            best = self.module.scores(self.module(batch)[:, -1]).argmax(-1)
            batch.input_ids = torch.cat([batch.input_ids, best[:, None]], dim=1)
        return [self._hypothesis(*row) for row in zip(batch.ids, batch.input_ids[:, 1:].tolist(), strict=True)]

    def _hypothesis(self, utterance_id: str, ids: list[int]) -> Hypothesis:
        kept = ids[: ids.index(END)] if END in ids else ids
        text = "".join(chr(i) for i in kept if i > END)
        return Hypothesis(utterance_id, text, None, text, len(kept) + (END in ids), END not in ids)

    def set_gradient_checkpointing(self, recompute: Recompute) -> None:
        if recompute is not Recompute.none:
            raise ConfigError("trainer.gradient_checkpointing: the toy keeps its activations")

    def compile_layers(self) -> None:
        raise ConfigError("trainer.compile: the toy has no layers that repeat")

    def flop_counter(self) -> None:
        return None

    def save(self, folder: Path | None) -> None:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "config.json").write_text(json.dumps({"model_type": "toy"}), encoding="utf-8")
            save_file(self.module.state_dict(), folder / "model.safetensors")


def load(config: ToyConfig, *, device: Any, dtype: torch.dtype, makes_features: bool = True) -> Trainable:
    if not makes_features:
        raise ConfigError("data.features_on=device: the toy makes its features in the loader workers")
    module = ToyModel()
    file = Path(config.path) / "model.safetensors"
    if not file.is_file():
        raise CheckpointError(f"{file}: there is no such toy")
    module.load_state_dict(load_file(file))
    return Toy(module.to(device, dtype).eval())


def load_collator(config: ToyConfig) -> TrainingCollator:
    return ToyCollator()
