"""Owns how the next token of a row is chosen, and groups of rows that are said of the same clip.

Input: logits, and random numbers of each row, so that what is drawn of a clip depends on its own numbers and not on what else is
in the batch. Output: tokens; batches whose rows share the audio of their clip.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from qasr_train.batch import IGNORED, Batch
from qasr_train.models.blocks.greedy import Chosen, RowTokens, Steps, choose, finish_rows
from qasr_train.models.blocks.rows import pad_rows


class Chooser(Protocol):
    """What chooses the next token of each row of a batch from which done rows leave."""

    def __call__(self, logits: torch.Tensor) -> Chosen:
        """The next tokens, of float [B, V]."""

    def keep(self, kept: torch.Tensor) -> None:
        """Go on with these rows alone; int64, places in the batch as it is."""


class Likeliest:
    """The likeliest token of each row."""

    def __call__(self, logits: torch.Tensor) -> Chosen:
        """See `Chooser`."""
        return choose(logits)

    def keep(self, kept: torch.Tensor) -> None:
        """See `Chooser`."""


class Drawn:
    """Of each clip the likeliest token in the first row, in the others one that is drawn by the row's own random numbers."""

    def __init__(self, uniforms: torch.Tensor, *, temperature: float, never: int) -> None:
        """uniforms: float64 [B, K, n] in [0, 1); see `Samples`.

        never: a token that is not chosen, since in a row that is learned from it would mean something else.
        """
        self.temperature, self.num_chosen = temperature, 0
        self.never = torch.tensor([never], device=uniforms.device)
        greedy = uniforms.new_full((len(uniforms), 1, uniforms.shape[2]), -1.0)
        self.uniforms = torch.cat([greedy, uniforms], dim=1).flatten(0, 1)

    def __call__(self, logits: torch.Tensor) -> Chosen:
        """See `Chooser`; the probabilities told are those of the model, not of the temperature."""
        logits = logits.float()
        log_sums = logits.logsumexp(-1)
        logits = logits.index_fill(-1, self.never, -torch.inf)
        # Rows that are done run on for some steps between two looks at them; their numbers do not matter.
        numbers = self.uniforms[:, min(self.num_chosen, self.uniforms.shape[1] - 1), None]
        self.num_chosen += 1
        # float64: in a sum over 150,000 tokens float32 would give to the last ones what it rounded off the others.
        reached = (logits / self.temperature).softmax(-1).double().cumsum(-1)
        drawn = torch.searchsorted(reached, numbers.clamp(min=0) * reached[:, -1:], right=True)
        likeliest = logits.argmax(-1, keepdim=True)
        ids = torch.where(numbers < 0, likeliest, drawn.clamp(max=logits.shape[-1] - 1))
        return Chosen(ids[:, 0], logits.gather(-1, ids)[:, 0] - log_sums)

    def keep(self, kept: torch.Tensor) -> None:
        """See `Chooser`."""
        self.uniforms = self.uniforms[kept]


class GroupSteps(Steps, Protocol):
    """Steps of a family that can say several things of a clip."""

    def spread(self, rows: torch.Tensor) -> None:
        """Go on with copies of these rows after the prompts, int64 [R]; what chooses is for R rows already."""


class Drawing(Protocol):
    """How the hypotheses of clips are found, once their prompts are read: `Samples`, or the `Beam` of beam.py."""

    @property
    def num_each(self) -> int:
        """Rows of the decoder a clip."""

    def chooser(self, never: int, end_ids: Collection[int]) -> Chooser:
        """What chooses the next tokens of all rows; never, end_ids: a token that is not chosen, those that end a row."""

    def groups(
        self, steps: GroupSteps, chooser: Chooser, first: Chosen, limits: Sequence[int], end_ids: Collection[int]
    ) -> list[list[RowTokens]]:
        """The tokens of every hypothesis of each clip, in order.

        Args:
            steps: after the prompts of all clips and spread over their rows. chooser: of this drawing, which `steps` asks.
            first: what it chose after the prompts. limits: most new tokens of each clip.
        """


@dataclass(frozen=True)
class Samples:
    """The greedy hypothesis and, for each row of random numbers, a drawn one.

    uniforms: float64 [B, K, n] in [0, 1), on the model's device; token t of draw k is chosen by number t of row k.
    temperature: divides the logits before a token is drawn.
    """

    uniforms: torch.Tensor
    temperature: float

    @property
    def num_each(self) -> int:
        """See `Drawing`."""
        return self.uniforms.shape[1] + 1

    def chooser(self, never: int, end_ids: Collection[int]) -> Chooser:
        """See `Drawing`."""
        return Drawn(self.uniforms, temperature=self.temperature, never=never)

    def groups(
        self, steps: GroupSteps, chooser: Chooser, first: Chosen, limits: Sequence[int], end_ids: Collection[int]
    ) -> list[list[RowTokens]]:
        """See `Drawing`."""
        number = self.num_each
        rows = finish_rows(steps, first, [limit for limit in limits for _ in range(number)], end_ids)
        return [rows[begin : begin + number] for begin in range(0, len(rows), number)]


def spread_index(num_clips: int, num_each: int, device: torch.device) -> torch.Tensor:
    """int64: every clip's number as often as it has hypotheses."""
    return torch.arange(num_clips, device=device).repeat_interleave(num_each)


@dataclass(frozen=True, slots=True)
class Said:
    """A row of a batch to be: after which ids what is said of which clip; `target` is empty where it is still to be said."""

    clip: int
    prompt: Sequence[int]
    target: Sequence[int] = ()


def with_rows(batch: Batch, rows: Sequence[Said], *, pad_id: int, on_left: bool = False) -> Batch:
    """A batch on the host with these rows over the audio of another, each clip of which stands there once.

    on_left: whether rows are padded there, else on the right.
    """
    input_ids, attention_mask, labels = pad_rows([(row.prompt, row.target) for row in rows], pad_id, on_left=on_left)
    return replace(
        batch,
        ids=[batch.ids[row.clip] for row in rows] if batch.ids else [],  # none where nothing could be read
        input_ids=input_ids,
        attention_mask=attention_mask,
        labels=labels,
        sources=[batch.sources[row.clip] for row in rows] if batch.sources else [],
        references=[batch.references[row.clip] for row in rows] if batch.references else [],
        audio_of=[row.clip for row in rows],
    )


def rows_of(batch: Batch) -> list[Said]:
    """The rows of a training batch on the host, without padding."""
    assert batch.labels is not None
    rows = []
    for clip, (ids, is_token, labels) in enumerate(
        zip(batch.input_ids, batch.attention_mask.bool(), batch.labels, strict=True)
    ):
        own, targets = ids[is_token].tolist(), int((labels != IGNORED).sum())
        rows.append(Said(clip, own[: len(own) - targets], own[len(own) - targets :]))
    return rows


def audio_index(audio_of: Sequence[int], lengths: Sequence[int], device: torch.device) -> torch.Tensor:
    """int64: where what rows hear stands among the positions of all clips, row after row. lengths: positions of each clip."""
    ends = torch.tensor([0, *lengths]).cumsum(0).tolist()
    index = torch.cat([torch.arange(ends[clip], ends[clip] + lengths[clip]) for clip in audio_of])
    return index.to(device, non_blocking=True)
