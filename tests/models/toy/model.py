"""Owns the toy itself: its weights, its loss, its greedy transcripts, its checkpoint."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from qasr_train.batch import IGNORED, Batch
from qasr_train.errors import CheckpointError, ConfigError
from qasr_train.models.base import Hypothesis, TargetStates, Trainable, TrainingCollator
from qasr_train.models.settings import Capability, Parts, Recompute
from tests.models.toy.collator import END, ToyCollator
from tests.models.toy.config import ToyConfig

WIDTH, NUM_TOKENS = 16, 128


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
