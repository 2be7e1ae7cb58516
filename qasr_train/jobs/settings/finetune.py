"""Owns the settings of `finetune`, and the rules between its sections."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from qasr_train.augment.settings import AugmentConfig, ContextConfig
from qasr_train.config.patterns import matches
from qasr_train.config.settings import check_settings, setting
from qasr_train.data.settings import DataConfig, FeaturesOn
from qasr_train.errors import ConfigError
from qasr_train.models.families import find_trainable
from qasr_train.models.settings import AdaptConfig, Capability, Role
from qasr_train.objectives.rollout_settings import HypothesesConfig
from qasr_train.objectives.settings import SlotsConfig
from qasr_train.objectives.table import check_objective
from qasr_train.run.directory import recorded_config, recorded_normalizer
from qasr_train.run.settings import TrackingConfig
from qasr_train.streaming.settings import refuse_streaming
from qasr_train.text.normalize import DEFAULT_NORMALIZER, get_normalizer
from qasr_train.training.settings import (
    ZERO_ASKED_FOR,
    GuardConfig,
    OptimConfig,
    TrainerConfig,
    is_on,
    is_sharding_asked_for,
)
from qasr_train.transcription.prompts import refuse_prompt
from qasr_train.transcription.settings import DecodeConfig

# Settings that may differ when a run is resumed: they change what is seen of the run, not its result.
MAY_CHANGE_ON_RESUME = (
    "resume",
    "tracking",
    "data.num_workers",
    # An epoch is cut anew from where it stands; see docs/training.md.
    "data.batch_seconds",
    "data.max_batch_rows",
    "trainer.num_microbatches",
    "data.prefetch_batches",
    "data.cache.max_gb",
    "trainer.keep_last",
    "trainer.keep_best",
    "trainer.peak_tflops",
    "trainer.guard.patience",
    *(f"trainer.guard.{name}_points" for name in GuardConfig().margins()),
    "trainer.peer_timeout_s",
    "trainer.collective_timeout_s",
)
TERM_REWARDS = ("term_recall", "term_precision")


@dataclass
class FinetuneConfig:
    """Fine-tune a model on one or more sources."""

    model: Any = setting(help="section; the checkpoint to start from")
    adapt: AdaptConfig = setting(AdaptConfig(), help="which weights are trained, and how")
    objective: Any = setting(help="section; the loss")
    data: DataConfig = setting(DataConfig(), help="what is trained on and watched")
    augment: AugmentConfig = setting(AugmentConfig(), help="what is done to training clips")
    context: ContextConfig = setting(ContextConfig(), help="what stands in the system turn")
    optim: OptimConfig = setting(OptimConfig(), help="optimizer and learning rates")
    trainer: TrainerConfig = setting(TrainerConfig(), help="how long, on what, what is kept")
    decode: DecodeConfig = setting(DecodeConfig(), help="how dev sets are transcribed")
    tracking: TrackingConfig = setting(TrackingConfig(), help="where figures go")
    normalizer: str = setting(DEFAULT_NORMALIZER, help="name; the normaliser of the dev sets' error rates")
    run_dir: str = setting(
        help="directory; new for every run, never overwritten. out= says the same, as in every recipe"
    )
    seed: int = setting(0, ge=0, help="seed of data order, dropout and new weights")
    resume: bool = setting(False, help="go on from the last checkpoint of run_dir; start where there is none")

    @property
    def slotted(self) -> float:
        """Share of the words that have slots in an epoch, where an aligner learns."""
        return self.objective.slotted if isinstance(self.objective, SlotsConfig) else 1.0

    def as_begun(self) -> "FinetuneConfig":
        """With the prompts a resumed run began with, and its rules of comparison where those asked for are today's default."""
        return replace(
            self,
            normalizer=recorded_normalizer(self.run_dir, self.normalizer, resume=self.resume),
            context=begun_context(self.run_dir, self.context, resume=self.resume),
        )

    def __post_init__(self) -> None:
        check_settings(self, "finetune")
        get_normalizer(self.normalizer)
        family = find_trainable(self.model.family)
        refuse_prompt(self.decode.prompt, self.model.family)
        refuse_streaming(self.decode.streaming, self.decode.engine, self.model, self.decode.max_duration_s)
        if not self.data.train:
            raise ConfigError("data.train is empty: name at least one source, e.g. data.train.main.path=manifest.jsonl")
        check_objective(
            self.objective,
            family=self.model.family,
            capabilities=family.capabilities,
            sources=list(self.data.train),
            is_sharded=is_sharding_asked_for(),
        )
        _check_guard(self.trainer.guard, list(self.data.dev))
        if isinstance(self.objective, HypothesesConfig):
            self._check_rollouts(self.objective)
        if self.data.sample_by_error.first_epoch:
            self._check_first_epoch()
        if family.role is Role.ALIGNER and self.augment.changes_times:
            raise ConfigError(
                f"augment.{self.augment.changes_times} moves words, and an aligner learns when they are said; set it to 0"
            )
        if family.role is Role.ALIGNER and self.augment.prefix.probability:
            raise ConfigError(
                "augment.prefix cuts a clip with its transcript, and an aligner is given all of it; set "
                "augment.prefix.probability=0"
            )
        if self.data.cache.dir is not None and self.augment.changes_sound:
            raise ConfigError(
                "data.cache.dir keeps the features of a clip, and augment changes its sound in every epoch; set "
                "data.cache.dir=null, or keep only augment.spec_augment and augment.prefix, which leave what is kept as it is"
            )
        if self.data.cache.encoder_outputs and self.augment.is_on:
            raise ConfigError(
                "data.cache.encoder_outputs=true keeps what the encoder makes of a clip, and augment changes that in every "
                "epoch; set it to false, or augment=none"
            )
        if self.data.features_on is FeaturesOn.device and self.augment.spec_augment.probability > 0:
            raise ConfigError(
                "augment.spec_augment covers up features in the loader workers, and with data.features_on=device there are "
                "none yet; set data.features_on=worker"
            )

    def _check_first_epoch(self) -> None:
        """Refuse a first epoch in which nothing is heard, or after which nobody knows when the run ends."""
        key = "data.sample_by_error.first_epoch=true"
        if not isinstance(self.objective, HypothesesConfig):
            raise ConfigError(
                f"{key} goes by what the model says of its clips, and objective={self.objective.name} lets it say nothing; "
                "evaluate the clips and give data.sample_by_error.predictions, or use objective=mwer or gspo"
            )
        if self.trainer.max_steps is None:
            raise ConfigError(
                f"{key}: how many steps the later epochs have is known after the first alone; set trainer.max_steps"
            )

    def _check_rollouts(self, objective: HypothesesConfig) -> None:
        """Refuse what learning from hypotheses cannot be together with."""
        where = f"objective={objective.name}"
        if self.adapt.lora is None and not self.adapt.trainable:
            raise ConfigError(
                f"{where}: adapt trains nothing, so no hypothesis can become likelier; set adapt=lora or adapt=full"
            )
        if self.trainer.find_batch_seconds:
            raise ConfigError(
                f"trainer.find_batch_seconds=true tries batches of transcripts, and {where} learns from "
                f"{objective.num_hypotheses} hypotheses of each clip; set data.batch_seconds, and that to false"
            )
        if is_on(ZERO_ASKED_FOR):
            raise ConfigError(
                f"{where}: hypotheses were never drawn from weights that DeepSpeed holds; use DDP or FSDP2 (configs/launch/)"
            )
        terms = [name for name in TERM_REWARDS if objective.rewards.get(name)]
        rules = objective.reward_rules
        if terms and rules.terms is None and not rules.row_terms:
            raise ConfigError(
                f"objective.rewards.{terms[0]} has no terms to look for; give a list, a term a line, with "
                "objective.reward_rules.terms=terms.txt, or take those of the rows' contexts with reward_rules.row_terms=true"
            )
        says_language = Capability.SAYS_LANGUAGE in find_trainable(self.model.family).capabilities
        if objective.rewards.get("language") and not says_language:
            raise ConfigError(
                f"objective.rewards.language: model.family={self.model.family} is told the language before it speaks, so no "
                "hypothesis can tell another; leave it out"
            )


def _check_guard(guard: GuardConfig, dev_sets: Sequence[str]) -> None:
    """Refuse a guard with nothing to look at."""
    if not guard.is_on:
        return
    asked = f"trainer.guard.action={guard.action.value}"
    if not dev_sets:
        raise ConfigError(
            f"{asked} watches dev sets, and data.dev is empty; name one, e.g. data.dev.main.path=dev.jsonl"
        )
    for pattern in guard.sets:
        if not any(matches("trainer.guard.sets", pattern, name) for name in dev_sets):
            raise ConfigError(
                f"{asked}: trainer.guard.sets: {pattern!r} matches no set of data.dev ({', '.join(dev_sets)})"
            )


def begun_context(run_dir: str, asked: ContextConfig, *, resume: bool) -> ContextConfig:
    """The contexts a resumed run goes on with: one that began before there was `context.served` has none of it."""
    began = recorded_config(run_dir).get("context") if resume else None
    if not isinstance(began, dict) or "served" in began:
        return asked
    return replace(asked, served=0.0)
