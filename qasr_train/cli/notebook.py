"""Owns what a notebook calls: thin functions over the jobs and over what they are made of, with the settings of their recipes.

Input: settings as keywords (trainer={"max_steps": 100}) or as a command line has them ("trainer.max_steps=100"). Output: figures
and folders. Each says in its docstring which recipe has the same settings; a mistake is a UserError with that recipe's sentence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qasr_train.cli.error_rates import listed
from qasr_train.cli.overrides import overrides_of
from qasr_train.config.command_line import run_command_line
from qasr_train.config.environment import prepare_environment
from qasr_train.errors import ConfigError
from qasr_train.evaluation.comparing.compare import Comparison
from qasr_train.evaluation.scoring.run_files import load_run
from qasr_train.evaluation.scoring.score import ScoredRun
from qasr_train.jobs.compare import compare_one
from qasr_train.jobs.recipes import PROJECT, RECIPES, load_config
from qasr_train.manifest import Utterance, read_jsonl
from qasr_train.run.processes import ALONE
from qasr_train.transcription.predictions import Prediction

if TYPE_CHECKING:  # brings torch
    from qasr_train.models.base import Recogniser


@dataclass(frozen=True)
class FineTuned:
    """What a fine-tuning left. checkpoint: the best by the dev sets, without any the last. metrics: rows of metrics.jsonl."""

    run_dir: Path
    checkpoint: Path
    metrics: list[dict[str, Any]]


@dataclass(frozen=True)
class Transcriber:
    """A loaded model and the overrides it was loaded by."""

    model: "Recogniser"
    overrides: tuple[str, ...]

    def transcribe(self, files: Sequence[str | Path], **decode: Any) -> list[Prediction]:
        """What is said in recordings, in their order; `pred_text` is the text, `failed` says why there is none.

        Args:
            files: paths of recordings of any format that `prepare` reads.
            decode: settings of the group `decode`: language="German", long_audio="drop" ...

        Raises:
            UserError: a setting that is wrong; too many recordings (`max_failed_fraction`) cannot be read.
        """
        from qasr_train.transcription.transcribe import transcribe_utterances

        config = _listening_config([*self.overrides, *overrides_of((), {"decode": decode})])
        utterances = [Utterance(f"{number}:{Path(file).name}", str(file)) for number, file in enumerate(listed(files))]
        decoding = config.decode.decoding(config.model.max_duration_s)
        return transcribe_utterances(self.model, utterances, decoding, ALONE, "files")


def load_model(model: str, *overrides: str, **settings: Any) -> Transcriber:
    """Load a model for transcription, on a GPU where there is one.

    Args:
        model: a file of `configs/model/`: "tiny", "qwen3_asr_0.6b", "whisper_large_v3".
        overrides, settings: of that file without `model.` in front, e.g. path="runs/first/checkpoints/best".

    Raises:
        UserError: a setting that is wrong; a checkpoint that cannot be loaded as it should.
    """
    from qasr_train.models import families
    from qasr_train.run.device import choose_device, choose_dtype

    prepare_environment()
    given = (f"model={model}", *(f"model.{one}" for one in overrides), *overrides_of((), {"model": settings}))
    config = _listening_config(given)
    device = choose_device(config.device)
    loaded = families.load_model(config.model, device=device, dtype=choose_dtype(config.precision, device))
    return Transcriber(loaded, given)


def finetune(*overrides: str, **settings: Any) -> FineTuned:
    """Fine-tune, as `recipes/finetune.py` does with the same settings.

    Raises:
        UserError: as the recipe tells it, before anything is trained where it can be seen by then.
    """
    from qasr_train.jobs import finetune as job  # brings torch and Accelerate

    prepare_environment()
    config = load_config("finetune", overrides_of(overrides, settings))
    job.finetune(config)
    run_dir = Path(config.run_dir)
    best, last = (run_dir / "checkpoints" / name for name in ("best", "last"))
    rows = [row for _, row in read_jsonl(run_dir / "metrics.jsonl")]
    return FineTuned(run_dir, (best if best.exists() else last).resolve(), rows)


def evaluate(*overrides: str, **settings: Any) -> ScoredRun:
    """Evaluate, as `recipes/evaluate.py` does with the same settings; its files lie in `run_dir`. Raises as `finetune`."""
    from qasr_train.jobs import evaluate as job  # brings torch

    prepare_environment()
    config = load_config("evaluate", overrides_of(overrides, settings))
    job.evaluate(config)
    return load_run(config.run_dir)


def compare(baseline: str | Path, candidate: str | Path, *overrides: str, **settings: Any) -> Comparison:
    """Compare two runs on the same utterances, as `recipes/compare.py` does; writes comparison.json into `out`.

    Raises:
        UserError: a run cannot be read, or the two have no utterance in common.
    """
    runs = {"baseline": baseline, "candidate": candidate}
    return compare_one(load_config("compare", overrides_of(overrides, runs | settings)))


def recipe(name: str, *overrides: str, **settings: Any) -> int:
    """Run any recipe, `prepare`, `show_batch`, `export` ..., as `recipes/NAME.py` does with the same settings.

    Returns:
        Its exit status, where that is an answer: of `compare` 0 passed, 1 not passed, 3 undecided. Else 0.

    Raises:
        UserError: as the recipe tells it; no recipe of that name.
    """
    if name not in RECIPES:
        raise ConfigError(f"recipe({name!r}): no such recipe; choose from {', '.join(RECIPES)}")
    return run_command_line(name, overrides_of(overrides, settings), PROJECT)


def _listening_config(overrides: Sequence[str]) -> Any:
    """Model, decoding, device and precision, checked as a recipe that transcribes has them; its source and run are not used."""
    return load_config("check_transcripts", [*overrides, "source.path=unused", "run_dir=unused"])
