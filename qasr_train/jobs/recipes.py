"""Owns the tables of the project: its recipes, the schemas behind the files of `configs/`, where those lie. Imports no torch.

Input: none. Output: PROJECT, for the command line, and `load_config` for a config without one. A new job adds an entry to
RECIPES; a new family or objective is known here once it stands in its own table.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qasr_train.augment.settings import AugmentConfig, ContextConfig
from qasr_train.config import load
from qasr_train.config.load import Recipe, Tables
from qasr_train.data.settings import DataConfig
from qasr_train.evaluation.settings import AlignmentSuiteConfig, NoiseSuiteConfig, OwnSuiteConfig, SuiteConfig
from qasr_train.models.families import FAMILIES
from qasr_train.models.settings import AdaptConfig
from qasr_train.objectives.table import OBJECTIVES
from qasr_train.run.settings import TrackingConfig
from qasr_train.sources.settings import SourceConfig
from qasr_train.training.settings import OptimConfig, TrainerConfig
from qasr_train.transcription.settings import CommandConfig, DecodeConfig

_PACKAGE = Path(__file__).resolve().parents[1]
# A wheel has the folder inside the package (setup.py), a clone beside it.
CONFIG_DIR = next(folder / "configs" for folder in (_PACKAGE, _PACKAGE.parent) if (folder / "configs").is_dir())

# (group, name): YAML files of the group name it as `<name>_schema` in their defaults list.
SCHEMAS: dict[tuple[str, str], type] = {
    **{("model", name): family.config for name, family in FAMILIES.items()},
    ("model", "command"): CommandConfig,
    ("adapt", "adapt"): AdaptConfig,
    **{("objective", name): objective.config for name, objective in OBJECTIVES.items()},
    ("source", "source"): SourceConfig,
    ("data", "data"): DataConfig,
    ("augment", "augment"): AugmentConfig,
    ("context", "context"): ContextConfig,
    ("optim", "optim"): OptimConfig,
    ("trainer", "trainer"): TrainerConfig,
    ("decode", "decode"): DecodeConfig,
    ("tracking", "tracking"): TrackingConfig,
    ("suite", "suite"): SuiteConfig,
    ("suite", "own_suite"): OwnSuiteConfig,
    ("suite", "noise_suite"): NoiseSuiteConfig,
    ("suite", "alignment_suite"): AlignmentSuiteConfig,
}

_TRAINING_GROUPS = (
    "model",
    "adapt",
    "objective",
    "source",
    "data",
    "augment",
    "context",
    "optim",
    "trainer",
    "decode",
    "tracking",
)

RECIPES: dict[str, Recipe] = {
    "prepare": Recipe(
        "Check a raw corpus: any source -> manifest, rejects with reasons, summary; converts to 16 kHz FLAC on request.",
        config="qasr_train.jobs.settings.prepare:PrepareConfig",
        job="qasr_train.jobs.prepare:prepare",
        output="out",
        examples=(
            "source.path=raw.jsonl out=prepared/",
            "source.path=corpus.tsv source.columns.text=sentence out=prepared/ convert=true",
            "source.path=raw.jsonl out=prepared/ split.test_fraction=0.05 split.dev_fraction=0.05",
        ),
    ),
    "show_batch": Recipe(
        "Show what the model is given and which tokens are supervised, for a few utterances of a manifest.",
        config="qasr_train.jobs.settings.show_batch:ShowBatchConfig",
        job="qasr_train.jobs.show_batch:show_batch",
        output="out",
        groups=("model", "source", "data", "augment", "context"),
        examples=("data.train.main.path=manifest.jsonl", "data.train.main.path=manifest.jsonl out=shown.jsonl"),
    ),
    "finetune": Recipe(
        "Fine-tune a model: manifests -> checkpoints.",
        config="qasr_train.jobs.settings.finetune:FinetuneConfig",
        job="qasr_train.jobs.finetune:finetune",
        output="run_dir",
        groups=_TRAINING_GROUPS,
        examples=(
            "data.train.main.path=train.jsonl data.dev.main.path=dev.jsonl run_dir=runs/first",
            "experiment=medical model=qwen3_asr_0.6b data.train.target.path=manifest.jsonl",
            "data.train.main.path=train.jsonl run_dir=runs/seeds seed=1,2,3 --multirun",
            "run_dir=runs/first resume=true data.train.main.path=train.jsonl data.dev.main.path=dev.jsonl",
        ),
    ),
    "show_run": Recipe(
        "Make the page of a fine-tune again: curves, what is best and why; of a run at work, or one older than the page.",
        config="qasr_train.jobs.settings.show_run:ShowRunConfig",
        job="qasr_train.jobs.show_run:show_run",
        output="out",
        examples=("run=runs/first", "run=runs/first out=first.html allow_text=true"),
    ),
    "evaluate": Recipe(
        "Evaluate a model on a suite: predictions, scores, report.",
        config="qasr_train.jobs.settings.evaluate:EvaluateConfig",
        job="qasr_train.jobs.evaluate:evaluate",
        output="run_dir",
        groups=("model", "source", "suite", "decode", "tracking"),
        examples=(
            "model=tiny suite=own suite.manifest=test.jsonl run_dir=runs/tiny",
            "model.path=runs/first/checkpoints/best suite=own suite.manifest=test.jsonl run_dir=runs/tuned",
            "model=command model.command='python theirs.py {manifest} {predictions}' suite=own suite.manifest=test.jsonl "
            "run_dir=runs/theirs",
        ),
    ),
    "transcribe": Recipe(
        "Transcribe recordings of any length: text, subtitles, tables of times.",
        config="qasr_train.jobs.settings.transcribe:TranscribeConfig",
        job="qasr_train.jobs.transcribe:transcribe",
        output="out",
        groups=("model", "decode"),
        examples=(
            "call.wav model.path=runs/first",
            "meetings/ model.path=runs/first formats=[srt,vtt] out=subtitles",
            "calls/ model.path=runs/first channels=separate formats=[jsonl,ctm] decode.language=German out=heard",
            "talk.mp4 model=whisper_small formats=[srt] subtitles.max_line_length=37 out=subtitles",
        ),
        files="files",
    ),
    "serve": Recipe(
        "Serve a model on this machine: a page with upload and microphone, OpenAI's /v1/audio/transcriptions.",
        config="qasr_train.jobs.settings.serving.serve:ServeConfig",
        job="qasr_train.jobs.serving.serve:serve",
        output=None,
        groups=("model", "decode"),
        examples=(
            "model.path=runs/first",
            "model.path=runs/first aligner.path=Qwen/Qwen3-ForcedAligner-0.6B port=9000",
        ),
    ),
    "align": Recipe(
        "Say when each word of a known text was said: JSONL, CTM, TextGrid, SRT, VTT.",
        config="qasr_train.jobs.settings.align:AlignConfig",
        job="qasr_train.jobs.alignment.align:align",
        output="out",
        groups=("model", "source"),
        examples=(
            "source.path=manifest.jsonl formats=[jsonl,textgrid] out=words",
            "model=tiny_aligner source.path=calls.jsonl predictions=runs/heard/predictions.jsonl formats=[srt] out=subtitles",
        ),
    ),
    "score": Recipe(
        "Score saved predictions, ours or the leaderboard's, with no model and no GPU: predictions -> scores.json, report.",
        config="qasr_train.jobs.settings.score:ScoreConfig",
        job="qasr_train.jobs.score:score",
        output="out",
        examples=("predictions=runs/tiny/predictions.jsonl normalizer=leaderboard-2026-08 out=rescored",),
    ),
    "compare": Recipe(
        "Compare runs on the same utterances: gains, losses, how sure they are; exit status 1 when a gate fails.",
        config="qasr_train.jobs.settings.compare:CompareConfig",
        job="qasr_train.jobs.compare:compare",
        output="out",
        examples=(
            "baseline=runs/base candidate=runs/tuned out=compared",
            "baseline=runs/base candidate=runs/tuned out=compared gate.max_guard_loss_points=3.0",
        ),
    ),
    "export": Recipe(
        "Write a checkpoint for others to load: merged, as an adapter, or in the original layout, with a model card.",
        config="qasr_train.jobs.settings.export:ExportConfig",
        job="qasr_train.jobs.export:run",
        output="out",
        examples=(
            "checkpoint=runs/first/checkpoints/best layout=original out=exported",
            "checkpoint=runs/first/checkpoints/best strength=0.5 out=exported",
        ),
    ),
    "check_transcripts": Recipe(
        "Rank the transcripts of a manifest by their distance from what a base model hears; leave out the worst if asked.",
        config="qasr_train.jobs.settings.check_transcripts:CheckTranscriptsConfig",
        job="qasr_train.jobs.check_transcripts:check_transcripts",
        output="run_dir",
        groups=("model", "source", "decode"),
        examples=(
            "model=qwen3_asr_0.6b source.path=manifest.jsonl run_dir=runs/checked",
            "model=qwen3_asr_0.6b source.path=manifest.jsonl run_dir=runs/checked resume=true max_wer_percent=80",
        ),
    ),
    "honesty": Recipe(
        "Probe whether a model knows a test set by heart: wrong references, masked numbers, spelling switches; status 1 if so.",
        config="qasr_train.jobs.settings.trust.honesty:HonestyConfig",
        job="qasr_train.jobs.trust.honesty:run",
        output="run_dir",
        groups=("model", "source", "decode"),
        examples=(
            "model=qwen3_asr_0.6b source.path=test.jsonl run_dir=runs/honesty-base",
            "model=qwen3_asr_0.6b model.path=runs/first/checkpoints/best source.path=test.jsonl baseline=runs/honesty-base "
            "run_dir=runs/honesty",
            "model=tiny source.path=prepared/manifest.jsonl corrected=prepared/corrected.jsonl run_dir=runs/planted",
        ),
    ),
    "routes": Recipe(
        "Hear the same clips by every route to a model: our decoder, transformers' generate, any command; do all say the same?",
        config="qasr_train.jobs.settings.trust.routes:RoutesConfig",
        job="qasr_train.jobs.trust.routes:run",
        output="run_dir",
        groups=("model", "source", "decode"),
        examples=(
            "model=qwen3_asr_0.6b model.path=runs/first/checkpoints/best source.path=test.jsonl run_dir=runs/routes",
            "model=tiny source.path=test.jsonl run_dir=runs/routes "
            "routes.plain.command='python scripts/routes/qwen3_asr_transformers.py exported {manifest} {predictions}'",
        ),
    ),
    "pseudo_label": Recipe(
        "Label recordings without transcripts by a model, and keep what it heard well.",
        config="qasr_train.jobs.settings.pseudo_label:PseudoLabelConfig",
        job="qasr_train.jobs.pseudo_label:pseudo_label",
        output="run_dir",
        groups=("model", "source", "decode"),
        examples=(
            "model=qwen3_asr_1.7b source.path=calls/ run_dir=runs/labelled",
            "model=qwen3_asr_1.7b source.path=calls/ run_dir=runs/labelled resume=true min_confidence=0.9",
            "model=whisper_large_v3 source.path=calls/ min_confidence=null agree_with=runs/labelled run_dir=runs/agreed",
        ),
    ),
    "sweep_strength": Recipe(
        "Evaluate a fine-tune at several strengths between its base and itself: what is gained against what is forgotten.",
        config="qasr_train.jobs.settings.sweep_strength:SweepConfig",
        job="qasr_train.jobs.sweep_strength:run",
        output="run_dir",
        groups=("source", "suite", "decode"),
        examples=(
            "checkpoint=runs/first/checkpoints/best suite=demo suite.sets.medical.source.path=a.jsonl "
            "suite.sets.general.source.path=b.jsonl run_dir=runs/sweep",
        ),
    ),
    "sweep_chunks": Recipe(
        "Evaluate streams by chunks of several lengths beside whole recordings: errors that streaming costs, delays of words.",
        config="qasr_train.jobs.settings.streaming.sweep_chunks:SweepChunksConfig",
        job="qasr_train.jobs.streaming.sweep_chunks:run",
        output="run_dir",
        groups=("model", "source", "suite", "decode"),
        examples=(
            "model=qwen3_asr_0.6b suite=own suite.manifest=timed.jsonl run_dir=runs/chunks",
            "model=whisper_base suite=own suite.manifest=timed.jsonl chunks_s=[1,2] max_loss_points=0.5 run_dir=runs/chunks",
        ),
    ),
    "learning_curve": Recipe(
        "Say how many recordings are needed: fine-tune on growing amounts of a source, evaluate each, draw error rate by amount.",
        config="qasr_train.jobs.settings.learning_curve:LearningCurveConfig",
        job="qasr_train.jobs.learning_curve:run",
        output="run_dir",
        groups=(*_TRAINING_GROUPS, "suite"),
        examples=(
            "data.train.main.path=train.jsonl suite=own suite.manifest=test.jsonl run_dir=runs/curve",
            "experiment=medical data.train.target.path=manifest.jsonl suite=own suite.manifest=manifest.jsonl "
            "suite.sets.own.source.split=test amounts=[100,400,1600] run_dir=runs/curve",
        ),
    ),
}

PROJECT = Tables(RECIPES, SCHEMAS, (CONFIG_DIR,))


def load_config(recipe_name: str, overrides: Sequence[str] = ()) -> Any:
    """The checked config of a recipe of the project, as its command line makes it; raises as `config.load.load_config`."""
    return load.load_config(recipe_name, overrides, PROJECT)
