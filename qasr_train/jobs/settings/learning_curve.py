"""Owns the settings of `learning_curve`: those of `finetune`, what is cut into amounts, and what each amount is evaluated on."""

from dataclasses import dataclass, fields, replace
from math import ceil
from typing import Any

from qasr_train.config.settings import setting
from qasr_train.errors import ConfigError
from qasr_train.evaluation.columns.values import By
from qasr_train.evaluation.scoring.significance import ResampleBy
from qasr_train.evaluation.settings import BINS, BY, RESAMPLE_BY, SetConfig, SuiteConfig
from qasr_train.evaluation.style.settings import STYLE, check_traits
from qasr_train.jobs.settings.evaluate import EvaluateConfig
from qasr_train.jobs.settings.finetune import FinetuneConfig, begun_context
from qasr_train.run.directory import recorded_normalizer
from qasr_train.run.settings import Precision, refuse_fp16
from qasr_train.text.normalize import DEFAULT_NORMALIZER

TAUGHT = "taught"  # the set of clips that were trained on
REPLAY = "replay"  # what sources begin with that are there against forgetting


@dataclass
class LearningCurveConfig(FinetuneConfig):
    """Fine-tuning on several amounts of one source, each evaluated on a suite."""

    suite: SuiteConfig = setting(help="section; what every amount is evaluated on")
    cut_source: str | None = setting(
        None, help="name in data.train; the source that is cut. null: the first one that is not called replay..."
    )
    amounts: list[int] = setting(
        [15, 60, 240],
        ge=1,
        help="clips; so many are drawn of that source by `seed`, each draw within the next larger one",
    )
    include_all: bool = setting(True, help="whether the whole source is an amount too")
    include_base: bool = setting(True, help="whether the model before training is evaluated too, as amount 0")
    seeds: list[int] = setting(
        [], ge=0, help="every amount is drawn and trained once with each, and the curve is their mean. []: `seed` alone"
    )
    num_taught_clips: int = setting(
        100, ge=0, help="clips; so many of those an amount was trained on are transcribed too: what it learned. 0: none"
    )
    longer: float | None = setting(
        None,
        gt=1,
        help="times; the largest amount is trained once more, for so many times the epochs or steps. null: not",
    )
    precision: Precision = setting(
        Precision.auto, help="number format of the model in evaluation. auto: bf16 on a GPU, else fp32"
    )
    resample_by: ResampleBy = setting(ResampleBy.auto, help=RESAMPLE_BY)
    by: list[str] = setting([], help=BY)
    bins: dict[str, list[float]] = setting({}, help=BINS)
    style: list[str] = setting([], help=STYLE)
    keep_checkpoints: bool = setting(
        True, help="whether the checkpoints of every amount stay; else they go once they are evaluated"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_fp16(self.precision, "precision")
        By(self.by, self.bins).check()
        check_traits(self.style, "style")
        if not self.amounts:
            raise ConfigError("amounts=[]: name at least one number of clips, e.g. amounts=[15,60,240]")
        self.amounts = sorted(set(self.amounts))
        if len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(f"seeds={self.seeds}: a seed stands twice; name each once")
        if self.cut_source is not None and self.cut_source not in self.data.train:
            raise ConfigError(
                f"cut_source={self.cut_source}: no such source in data.train; choose from {', '.join(self.data.train)}"
            )
        for key in ("max_utterances", "sample_seed"):
            if (value := getattr(self.data.train[self.cut], key)) is not None:
                raise ConfigError(
                    f"data.train.{self.cut}.{key}={value}: `amounts` and `seed` say what is taken of this source; set it to null"
                )
        if self.data.train[self.cut].streaming:
            raise ConfigError(
                f"data.train.{self.cut}.streaming=true: amounts are drawn of a list; set streaming=false, or cut_source=NAME"
            )

    @property
    def cut(self) -> str:
        """The name of the source that is cut."""
        others = [name for name in self.data.train if not name.startswith(REPLAY)]
        return self.cut_source or next(iter(others or self.data.train))

    @property
    def carried(self) -> tuple[str, ...]:
        """The columns of the tests' manifests that rates are asked by."""
        return tuple(By(self.by, self.bins).carried)

    def as_begun(self) -> "LearningCurveConfig":
        """With the prompts a resumed run began with, and its rules of comparison where those asked for are today's default."""
        rules = self.suite.normalizer
        if self.normalizer == DEFAULT_NORMALIZER:  # else the record's rules of the dev sets are the user's own words
            rules = recorded_normalizer(self.run_dir, rules, resume=self.resume)
        normalizer = recorded_normalizer(self.run_dir, self.normalizer, resume=self.resume)
        context = begun_context(self.run_dir, self.context, resume=self.resume)
        return replace(self, normalizer=normalizer, suite=replace(self.suite, normalizer=rules), context=context)

    def with_seed(self, seed: int) -> "LearningCurveConfig":
        """The same curve by other draws and trainings."""
        return self if seed == self.seed else replace(self, seed=seed)

    def training(self, num_clips: int, run_dir: str, *, resume: bool, longer: float | None = None) -> FinetuneConfig:
        """The fine-tune on so many clips, which may be all there are. longer: times the usual length; None: the usual."""
        data, name = self.data, self.cut
        drawn = replace(data.train[name], max_utterances=num_clips, sample_seed=self.seed)
        changed: dict[str, Any] = {
            "data": replace(data, train={**data.train, name: drawn}),
            "tracking": replace(self.tracking, name=f"{self.tracking.name or 'learning_curve'}-{num_clips}"),
            "run_dir": run_dir,
            "resume": resume,
        }
        if longer is not None:
            epochs, steps = self.trainer.num_epochs, self.trainer.max_steps
            changed["trainer"] = replace(
                self.trainer,
                num_epochs=None if epochs is None else longer * epochs,
                max_steps=None if steps is None else ceil(longer * steps),
            )
        kept = {field.name: getattr(self, field.name) for field in fields(FinetuneConfig)}
        return FinetuneConfig(**kept | changed)

    def taught_suite(self, num_clips: int) -> SuiteConfig:
        """What run.json says of the sample of clips that were trained on."""
        source = replace(self.data.train[self.cut], max_utterances=num_clips, sample_seed=self.seed)
        return SuiteConfig(name=TAUGHT, sets={TAUGHT: SetConfig(source)}, normalizer=self.suite.normalizer)

    def evaluation(
        self, checkpoint: str | None, run_dir: str, *, resume: bool, suite: SuiteConfig | None = None
    ) -> EvaluateConfig:
        """The evaluation of a checkpoint. None: of the model before training. suite: None: the curve's own."""
        model = self.model
        if checkpoint is not None:
            model = replace(model, path=checkpoint, revision=None, base=None)  # a checkpoint is whole
        return EvaluateConfig(
            model=model,
            suite=suite or self.suite,
            decode=self.decode,
            run_dir=run_dir,
            resume=resume,
            device=self.trainer.device,
            precision=self.precision,
            resample_by=self.resample_by,
            by=[] if suite else self.by,  # clips that were trained on come without the tests' columns
            bins={} if suite else self.bins,
            style=self.style,
            seed=self.seed,
        )
