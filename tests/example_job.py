"""A job with its config dataclasses, as small as can be, for the tests of the config machinery."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from qasr_train.config.load import Recipe
from qasr_train.config.settings import MISSING, check_settings, setting
from qasr_train.errors import ConfigError


class Precision(str, Enum):
    """Number format."""

    auto = "auto"
    bf16 = "bf16"


@dataclass
class SmallModel:
    """One family."""

    path: str = setting(help="directory; where the weights lie")
    num_layers: int = setting(2, ge=1, help="layers; depth of the model")


@dataclass
class OtherModel:
    """Another family."""

    path: str = setting(help="directory; where the weights lie")
    width: int = setting(8, ge=1, help="units; width of the model")


@dataclass
class ExampleSource:
    """One source."""

    path: str = setting(help="file; the manifest")
    share: float = setting(1.0, gt=0, help="passes an epoch")
    columns: dict[str, str] = setting({}, help="our field -> the source's column")

    def __post_init__(self) -> None:
        check_settings(self, "source")


@dataclass
class ExampleData:
    """What is trained on."""

    train: dict[str, ExampleSource] = setting({}, help="name -> source")


@dataclass
class ExampleTrainer:
    """How long and how fast."""

    max_steps: int = setting(10, ge=1, help="updates; where training stops")
    save_every: int | None = setting(None, ge=1, help="updates; between checkpoints. null: only the last")
    lr: float = setting(1e-3, gt=0, le=1, help="peak learning rate")
    betas: list[float] = setting([0.9, 0.98], ge=0, lt=1, help="decay of AdamW's means")
    is_logged: bool = setting(True, help="whether figures are written")
    precision: Precision = setting(Precision.auto, help="number format of the forward pass")

    def __post_init__(self) -> None:
        check_settings(self, "trainer")


@dataclass
class ExampleConfig:
    """Train an example."""

    model: Any = setting(help="section; the checkpoint")
    data: ExampleData = setting(ExampleData(), help="section; the sources")
    trainer: ExampleTrainer = setting(ExampleTrainer(), help="section; length and speed")
    run_dir: str = setting(help="folder; where the run is written")
    seed: int = setting(0, ge=0, help="number; of every random choice")

    def __post_init__(self) -> None:
        saves = self.trainer.save_every
        if saves not in (None, MISSING) and saves > self.trainer.max_steps:
            raise ConfigError(
                f"trainer.save_every={saves} is more than trainer.max_steps={self.trainer.max_steps}: "
                "no checkpoint would be written; lower it or set null"
            )


@dataclass
class OffConfig:
    """A config with a section that is off."""

    extra: ExampleSource | None = setting(None, help="section. null: off")


def run(config: ExampleConfig) -> int:
    """The job: the status by which a test knows that it ran."""
    return 1


RECIPES = {
    "example": Recipe(
        "Train an example.",
        config="tests.example_job:ExampleConfig",
        job="tests.example_job:run",
        output="run_dir",
        groups=("model", "data", "source", "trainer"),
        examples=("model=small run_dir=runs/x",),
    )
}
SCHEMAS = {
    ("model", "small"): SmallModel,
    ("model", "other"): OtherModel,
    ("source", "source"): ExampleSource,
    ("data", "data"): ExampleData,
    ("trainer", "trainer"): ExampleTrainer,
}
FILES = {
    "example.yaml": "defaults:\n- example_schema\n- model: small\n- data: one\n- trainer: short\n- experiment: null\n- _self_\n",
    "model/small.yaml": "defaults: [small_schema, _self_]\npath: models/small\n",
    "model/other.yaml": "defaults: [other_schema, _self_]\npath: models/other\nwidth: 16\n",
    "source/clips.yaml": "defaults: [source_schema, _self_]\nshare: 0.5\n",
    "source/talks.yaml": "defaults: [source_schema, _self_]\npath: talks.jsonl\n",
    "data/one.yaml": "defaults:\n- data_schema\n- /source@train.main: clips\n- _self_\n",
    "trainer/short.yaml": "defaults: [trainer_schema, _self_]\nlr: 1e-4\n",
    "trainer/long.yaml": "defaults: [trainer_schema, _self_]\nmax_steps: 1000\n",
    "experiment/wide.yaml": "# @package _global_\ndefaults:\n- override /model: other\ntrainer: {max_steps: 99}\n",
}
