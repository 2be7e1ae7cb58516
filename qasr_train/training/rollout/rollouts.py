"""Owns rollouts: what the model as it is says of the clips of a step, what that is worth, the batch that is learned from it.

Input: a step's microbatches. Output: for each the batch of its hypotheses and transcripts, and figures of them. Random numbers
are those of (run seed, step, clip), so that a resumed run, and another number of processes, draw the same.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from qasr_train.batch import Batch, Rollout
from qasr_train.models.base import DrawnClip, Sampler, Trainable
from qasr_train.models.blocks.sampling import Said, rows_of, with_rows
from qasr_train.objectives.rollout_settings import GSPOConfig, HypothesesConfig
from qasr_train.rewards.base import Asked
from qasr_train.rewards.table import Rewards, make_rewards
from qasr_train.training.rollout.judging import RolloutFigures, judge_draws, teaches
from qasr_train.training.sharding import whole_weights
from qasr_train.transcription.transcribe import token_limit


@dataclass(frozen=True)
class Rollouts:
    """Called with the microbatches of a step and its number; see the module's docstring.

    has_references: whether transcripts are learned beside the hypotheses. num_updates: made on them.
    limit: seconds of audio -> most new tokens of a hypothesis.
    """

    accelerator: Accelerator
    model: Sampler
    rewards: Rewards
    num_hypotheses: int
    temperature: float
    has_references: bool
    seed: int
    num_updates: int = 1
    limit: Callable[[float], int] = token_limit

    def __call__(self, batches: Sequence[Batch], number: int) -> tuple[list[Batch], RolloutFigures]:
        """The batches of hypotheses, in order, on the host; all processes must call it at the same time."""
        began_s = time.perf_counter()
        figures = RolloutFigures.of(self.rewards)
        with whole_weights(self.accelerator, self.model), self.accelerator.autocast():
            groups = [self._draw(batch, number) for batch in batches]
        made = [self._learned_from(batch, drawn, figures) for batch, drawn in zip(batches, groups, strict=True)]
        figures.seconds = time.perf_counter() - began_s
        return made, figures

    def _draw(self, batch: Batch, number: int) -> list[DrawnClip]:
        if not batch.ids:  # nothing could be read of it
            return []
        limits = [self.limit(duration_s) for duration_s in batch.duration_s.tolist()]
        uniforms = torch.stack([self._uniforms(batch, clip, number, max(limits)) for clip in range(len(batch))])
        return self.model.draw(batch, uniforms.to(self.accelerator.device), temperature=self.temperature, limits=limits)

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
            judged = judge_draws(one, asked_of(batch, clip), self.rewards)
            figures.note(judged)
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


def asked_of(batch: Batch, clip: int) -> Asked:
    """What is right of a clip. Without speech no language is told: see `target_text` of Qwen3-ASR's collator."""
    reference = batch.references[clip]
    return Asked(reference.text, reference.language if reference.text else None, (), float(batch.duration_s[clip]))


def make_rollouts(
    config: Any, accelerator: Accelerator, model: Trainable, *, seed: int, max_new_tokens: int | None
) -> Rollouts | None:
    """The rollouts that an objective's settings ask for; None where it learns from transcripts alone.

    Args:
        max_new_tokens: most tokens of a hypothesis; None: as many as the evaluation allows for its seconds.

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
        temperature=config.temperature,
        has_references=config.has_references,
        seed=seed,
        num_updates=config.updates_per_rollout if isinstance(config, GSPOConfig) else 1,
        limit=token_limit if max_new_tokens is None else lambda duration_s: max_new_tokens,
    )


def _key(*parts: object) -> int:
    """A seed that no other parts have."""
    return int.from_bytes(blake2b("\n".join(map(str, parts)).encode(), digest_size=16).digest(), "little")
