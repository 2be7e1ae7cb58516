"""Owns rollouts: what the model as it is says of the clips of a step, what that is worth, the batch that is learned from it.

Input: a step's microbatches. Output: for each the batch of its hypotheses and transcripts, and figures of them. Random numbers
are those of (run seed, step, clip), so that a resumed run, and another number of processes, draw the same.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from qasr_train.batch import Batch, Rollout
from qasr_train.models.adapt import count_parameters
from qasr_train.models.base import DrawnClip, Sampler, Trainable
from qasr_train.models.blocks.beam import Beam
from qasr_train.models.blocks.sampling import Drawing, Said, Samples, rows_of, with_rows
from qasr_train.objectives.rollout_settings import DrawnBy, GSPOConfig, HypothesesConfig
from qasr_train.rewards.base import Asked
from qasr_train.rewards.table import Rewards, make_rewards
from qasr_train.text.terms import context_terms
from qasr_train.training.rollout.hearing import Ear
from qasr_train.training.rollout.judging import RolloutFigures, judge_draws, teaches
from qasr_train.training.sharding import whole_weights
from qasr_train.transcription.transcribe import token_limit


@dataclass(frozen=True)
class Rollouts:
    """Called with the microbatches of a step and its number; see the module's docstring.

    temperature: of draws; None: hypotheses are those of a beam. has_references: whether transcripts are learned beside them.
    has_row_terms: whether what a row's context offers are its terms. shares_encoding: whether what the encoder makes of a clip
    holds for the next pass too, as nothing of it is trained. num_updates: made on the hypotheses.
    limit: seconds of audio -> most new tokens of a hypothesis. ear: measures errors, for `data.sample_by_error`; None: none does.
    """

    accelerator: Accelerator
    model: Sampler
    rewards: Rewards
    num_hypotheses: int
    temperature: float | None
    has_references: bool
    seed: int
    has_row_terms: bool = False
    shares_encoding: bool = False
    num_updates: int = 1
    limit: Callable[[float], int] = token_limit
    ear: Ear | None = None

    def __call__(self, batches: Sequence[Batch], number: int) -> tuple[list[Batch], RolloutFigures]:
        """The batches of hypotheses, in order, on the host but for `encoded`; all processes must call it at the same time."""
        began_s = time.perf_counter()
        figures = RolloutFigures.of(self.rewards)
        with whole_weights(self.accelerator, self.model), self.accelerator.autocast():
            heard = [self._encoded(batch) for batch in batches]
            groups = [self._draw(batch, number) for batch in heard]
        made = [self._learned_from(batch, drawn, figures) for batch, drawn in zip(heard, groups, strict=True)]
        figures.seconds = time.perf_counter() - began_s
        return made, figures

    def _encoded(self, batch: Batch) -> Batch:
        """With what the encoder makes of its clips, where that holds for the pass that learns from them too."""
        if not self.shares_encoding or batch.encoded is not None or not batch.ids:
            return batch
        self.model.module.eval()  # a frozen encoder has no dropout; the step sets the model to train again
        return replace(batch, encoded=self.model.encode(batch.to(self.accelerator.device)))

    def _draw(self, batch: Batch, number: int) -> list[DrawnClip]:
        if not batch.ids:  # nothing could be read of it
            return []
        limits = [self.limit(duration_s) for duration_s in batch.duration_s.tolist()]
        return self.model.draw(batch, self._drawing(batch, number, max(limits)), limits=limits)

    def _drawing(self, batch: Batch, number: int, num_tokens: int) -> Drawing:
        if self.temperature is None:
            return Beam(self.num_hypotheses)
        uniforms = torch.stack([self._uniforms(batch, clip, number, num_tokens) for clip in range(len(batch))])
        return Samples(uniforms.to(self.accelerator.device), self.temperature)

    def _uniforms(self, batch: Batch, clip: int, number: int, num_tokens: int) -> torch.Tensor:
        """float64 [K, n]: the random numbers of a clip's draws, each of which has its own whatever `num_tokens` is."""
        source = batch.sources[clip] if batch.sources else ""
        rows = [
            np.random.default_rng(_key(self.seed, number, source, batch.ids[clip], draw)).random(num_tokens)
            for draw in range(1, self.num_hypotheses)
        ]
        return torch.from_numpy(np.stack(rows))

    def _learned_from(self, batch: Batch, drawn: Sequence[DrawnClip], figures: RolloutFigures) -> Batch:
        """The batch of a microbatch's hypotheses that can teach something, and of its transcripts."""
        given = rows_of(batch)
        rows: list[Said] = []
        worth: list[tuple[float, int, bool]] = []
        for clip, one in enumerate(drawn):
            asked = self._asked(batch, clip)
            judged = judge_draws(one, asked, self.rewards)
            figures.note(judged)
            if self.ear is not None:
                figures.heard.append(self.ear(batch, clip, asked, one))
            if teaches(judged):
                rows += [Said(clip, one.prompt, each.draw.ids) for each in judged]
                worth += [(each.reward or 0.0, each.num_drawn, False) for each in judged]
            if self.has_references:
                rows.append(given[clip])
                worth.append((0.0, 1, True))
        if not rows:  # every process must still run its step
            rows, worth = [Said(0, [*given[0].prompt, *given[0].target])], [(0.0, 1, True)]
        reward, num_drawn, is_reference = zip(*worth, strict=True)
        made = with_rows(batch, rows, pad_id=self.model.pad_id)
        made.rollout = Rollout(
            clip=torch.tensor([row.clip for row in rows]),
            reward=torch.tensor(reward, dtype=torch.float64),
            num_drawn=torch.tensor(num_drawn),
            is_reference=torch.tensor(is_reference),
            num_clips=len(batch.ids),
        )
        return made

    def _asked(self, batch: Batch, clip: int) -> Asked:
        """What is right of a clip. Without speech no language is told: see `target_text` of Qwen3-ASR's collator."""
        reference = batch.references[clip]
        terms = tuple(context_terms(reference.context)[0]) if self.has_row_terms else ()
        language = reference.language if reference.text else None
        return Asked(reference.text, language, terms, float(batch.duration_s[clip]))


def make_rollouts(
    config: Any,
    accelerator: Accelerator,
    model: Trainable,
    *,
    seed: int,
    max_new_tokens: int | None,
    ear: Ear | None = None,
) -> Rollouts | None:
    """The rollouts that an objective's settings ask for; None where it learns from transcripts alone.

    Args:
        model: with everything on it that is trained.
        max_new_tokens: most tokens of a hypothesis; None: as many as the evaluation allows for its seconds. ear: see `Rollouts`.

    Raises:
        ConfigError, DataError: as `make_rewards`.
    """
    if not isinstance(config, HypothesesConfig):
        return None
    assert isinstance(model, Sampler), "checked when the config was loaded: Capability.SAMPLES"
    return Rollouts(
        accelerator,
        model,
        make_rewards(config.rewards, config.reward_rules),
        num_hypotheses=config.num_hypotheses,
        temperature=None if config.drawn_by is DrawnBy.beam else config.temperature,
        has_references=config.has_references,
        seed=seed,
        has_row_terms=config.reward_rules.row_terms,
        shares_encoding=_is_encoder_frozen(model),
        num_updates=config.updates_per_rollout if isinstance(config, GSPOConfig) else 1,
        limit=token_limit if max_new_tokens is None else lambda duration_s: max_new_tokens,
        ear=ear,
    )


def _is_encoder_frozen(model: Trainable) -> bool:
    """Whether nothing is trained that stands before the decoder."""
    counts = count_parameters(model.module, model.parts)
    return all(one.is_frozen for one in counts.parts if one.part in ("encoder", "projector"))


def _key(*parts: object) -> int:
    """A seed that no other parts have."""
    return int.from_bytes(blake2b("\n".join(map(str, parts)).encode(), digest_size=16).digest(), "little")
