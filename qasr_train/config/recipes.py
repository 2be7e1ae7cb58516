"""Owns the tables of jobs and config schemas, loading a config into dataclasses, and the frame every recipe runs in.

Input: a recipe's name and its command line. Output: the job's own config dataclass, checked; then the job's exit status.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from qasr_train.config.compose import Composed, ConfigFolders, compose_config, open_folders
from qasr_train.config.keys import Leaf, expected_text, leaves, unknown_key_sentence
from qasr_train.config.settings import check_value
from qasr_train.errors import ConfigError

CONFIG_DIR = Path(__file__).resolve().parents[2] / "configs"


@dataclass(frozen=True)
class Recipe:
    """One job a person can run.

    config: "module:Class" of the job's config dataclass; it stands beside the job and is imported only when the recipe runs.
    groups: the groups of SCHEMAS its config is composed from.
    output: the key of the folder or file it writes; in a --multirun each job gets its own below it.
    examples: command lines for --help, without `python recipes/<name>.py`.
    """

    config: str
    groups: tuple[str, ...]
    output: str
    examples: tuple[str, ...] = ()


# (group, name) -> "module:Class"; YAML files of the group name it as `<name>_schema` in their defaults list.
SCHEMAS: dict[tuple[str, str], str] = {
    ("model", "qwen3_asr"): "qasr_train.models.qwen3_asr.config:Qwen3ASRConfig",
    ("model", "whisper"): "qasr_train.models.whisper.config:WhisperConfig",
    ("model", "parakeet_tdt"): "qasr_train.models.parakeet_tdt.config:ParakeetTDTConfig",
    ("model", "canary_qwen"): "qasr_train.models.canary_qwen.config:CanaryQwenConfig",
    ("model", "transformers_auto"): "qasr_train.models.transformers_auto.config:TransformersAutoConfig",
    ("model", "command"): "qasr_train.transcription.settings:CommandConfig",
    ("adapt", "adapt"): "qasr_train.models.settings:AdaptConfig",
    ("objective", "cross_entropy"): "qasr_train.objectives.settings:CrossEntropyConfig",
    ("objective", "kl_to_base"): "qasr_train.objectives.settings:KLToBaseConfig",
    ("source", "source"): "qasr_train.sources.settings:SourceConfig",
    ("data", "data"): "qasr_train.data.settings:DataConfig",
    ("augment", "augment"): "qasr_train.augment.settings:AugmentConfig",
    ("context", "context"): "qasr_train.augment.settings:ContextConfig",
    ("optim", "optim"): "qasr_train.training.settings:OptimConfig",
    ("trainer", "trainer"): "qasr_train.training.trainer:TrainerConfig",
    ("decode", "decode"): "qasr_train.transcription.settings:DecodeConfig",
    ("tracking", "tracking"): "qasr_train.run.settings:TrackingConfig",
    ("suite", "suite"): "qasr_train.evaluation.settings:SuiteConfig",
    ("suite", "own_suite"): "qasr_train.evaluation.settings:OwnSuiteConfig",
    ("suite", "noise_suite"): "qasr_train.evaluation.settings:NoiseSuiteConfig",
}

RECIPES: dict[str, Recipe] = {
    "prepare": Recipe(
        "qasr_train.jobs.settings.prepare:PrepareConfig",
        groups=(),
        output="out",
        examples=(
            "source.path=raw.jsonl out=prepared/",
            "source.path=corpus.tsv source.columns.text=sentence out=prepared/ convert=true",
            "source.path=raw.jsonl out=prepared/ split.test_fraction=0.05 split.dev_fraction=0.05",
        ),
    ),
    "show_batch": Recipe(
        "qasr_train.jobs.settings.show_batch:ShowBatchConfig",
        groups=("model", "source", "data", "augment", "context"),
        output="out",
        examples=("data.train.main.path=manifest.jsonl", "data.train.main.path=manifest.jsonl out=shown.jsonl"),
    ),
    "finetune": Recipe(
        "qasr_train.jobs.settings.finetune:FinetuneConfig",
        groups=(
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
        ),
        output="run_dir",
        examples=(
            "data.train.main.path=train.jsonl data.dev.main.path=dev.jsonl run_dir=runs/first",
            "experiment=medical model=qwen3_asr_0.6b data.train.target.path=manifest.jsonl",
            "data.train.main.path=train.jsonl run_dir=runs/seeds seed=1,2,3 --multirun",
            "run_dir=runs/first resume=true data.train.main.path=train.jsonl data.dev.main.path=dev.jsonl",
        ),
    ),
    "evaluate": Recipe(
        "qasr_train.jobs.settings.evaluate:EvaluateConfig",
        groups=("model", "source", "suite", "decode", "tracking"),
        output="run_dir",
        examples=(
            "model=tiny suite=own suite.manifest=test.jsonl run_dir=runs/tiny",
            "model.path=runs/first/checkpoints/best suite=own suite.manifest=test.jsonl run_dir=runs/tuned",
            "model=command model.command='python theirs.py {manifest} {predictions}' suite=own suite.manifest=test.jsonl "
            "run_dir=runs/theirs",
        ),
    ),
    "score": Recipe(
        "qasr_train.jobs.settings.score:ScoreConfig",
        groups=(),
        output="out",
        examples=("predictions=runs/tiny/predictions.jsonl normalizer=leaderboard-2026-08 out=rescored",),
    ),
    "compare": Recipe(
        "qasr_train.jobs.settings.compare:CompareConfig",
        groups=(),
        output="out",
        examples=(
            "baseline=runs/base candidate=runs/tuned out=compared",
            "baseline=runs/base candidate=runs/tuned out=compared gate.max_guard_loss_points=3.0",
        ),
    ),
    "export": Recipe(
        "qasr_train.jobs.settings.export:ExportConfig",
        groups=(),
        output="out",
        examples=(
            "checkpoint=runs/first/checkpoints/best layout=original out=exported",
            "checkpoint=runs/first/checkpoints/best strength=0.5 out=exported",
        ),
    ),
    "check_transcripts": Recipe(
        "qasr_train.jobs.settings.check_transcripts:CheckTranscriptsConfig",
        groups=("model", "source", "decode"),
        output="run_dir",
        examples=(
            "model=qwen3_asr_0.6b source.path=manifest.jsonl run_dir=runs/checked",
            "model=qwen3_asr_0.6b source.path=manifest.jsonl run_dir=runs/checked resume=true max_wer_percent=80",
        ),
    ),
    "pseudo_label": Recipe(
        "qasr_train.jobs.settings.pseudo_label:PseudoLabelConfig",
        groups=("model", "source", "decode"),
        output="run_dir",
        examples=(
            "model=qwen3_asr_1.7b source.path=calls/ run_dir=runs/labelled",
            "model=qwen3_asr_1.7b source.path=calls/ run_dir=runs/labelled resume=true min_confidence=0.9",
            "model=whisper_large_v3 source.path=calls/ min_confidence=null agree_with=runs/labelled run_dir=runs/agreed",
        ),
    ),
    "sweep_strength": Recipe(
        "qasr_train.jobs.settings.sweep_strength:SweepConfig",
        groups=("source", "suite", "decode"),
        output="run_dir",
        examples=(
            "checkpoint=runs/first/checkpoints/best suite=demo suite.sets.medical.source.path=a.jsonl "
            "suite.sets.general.source.path=b.jsonl run_dir=runs/sweep",
        ),
    ),
}


@dataclass(frozen=True)
class Tables:
    """What a recipe's name and a config group stand for; tests bring their own."""

    recipes: Mapping[str, Recipe]
    schemas: Mapping[tuple[str, str], str]
    search_dirs: tuple[Path, ...] = (CONFIG_DIR,)


PROJECT = Tables(RECIPES, SCHEMAS)


def load_config(recipe_name: str, overrides: Sequence[str] = (), tables: Tables = PROJECT) -> Any:
    """The checked config of one job: an instance of its recipe's dataclass, with no OmegaConf left in it.

    Raises:
        ConfigError: an unknown key, wrong type, value out of range, missing value, or settings that contradict each other.
    """
    register_schemas(recipe_name, tables)
    with open_folders(recipe_name, tables.search_dirs) as folders:
        return build_config(compose_config(folders, overrides), folders, tables)


def register_schemas(recipe_name: str, tables: Tables = PROJECT) -> type:
    """Import a recipe's dataclasses and put them into Hydra's ConfigStore; returns the top-level one."""
    recipe = tables.recipes[recipe_name]
    store = ConfigStore.instance()
    top = _resolve(recipe.config)
    _store(store, f"{recipe_name}_schema", top)
    for (group, name), target in tables.schemas.items():
        if group in recipe.groups:
            _store(store, f"{name}_schema", _resolve(target), group)
    return top


def _store(store: ConfigStore, name: str, node: type, group: str | None = None) -> None:
    """Store a dataclass unless it stands there: working out its tree takes Hydra a millisecond or two each."""
    known = store.repo.get(group, {}) if group else store.repo
    stored = known.get(f"{name}.yaml")
    if stored is None or OmegaConf.get_type(stored.node) is not node:
        store.store(name=name, node=node, group=group)


def build_config(composed: Composed, folders: ConfigFolders, tables: Tables = PROJECT) -> Any:
    """Check a composed config and turn it into dataclasses: missing values, references, ranges, then `__post_init__`."""
    tree, recipe_name = composed.tree, folders.config_name
    if OmegaConf.get_type(tree) is not _resolve(tables.recipes[recipe_name].config):
        raise ConfigError(f"{folders.file_of(recipe_name)}: its defaults list must begin with {recipe_name}_schema")
    refuse_untyped(composed, tables, folders)
    _refuse_missing(tree)
    _resolve_references(tree)
    for leaf in leaves(tree):
        _check_leaf(leaf)
    return OmegaConf.to_object(tree)


def _resolve(target: str) -> type:
    module, _, name = target.partition(":")
    cls = getattr(importlib.import_module(module), name)
    assert is_dataclass(cls) and isinstance(cls, type), f"{target} is no dataclass"
    return cls


def _refuse_missing(tree: DictConfig) -> None:
    missing = [leaf for leaf in leaves(tree) if leaf.value == "???"]
    if not missing:
        return
    first = missing[0]
    others = f"; also missing: {', '.join(leaf.key for leaf in missing[1:])}" if missing[1:] else ""
    raise ConfigError(
        f"{first.key} is missing: give {first.key}=VALUE, {expected_text(first.annotation, first.field)}{others}"
    )


def _resolve_references(tree: DictConfig) -> None:
    """Replace `${...}` by what it stands for, key by key, so that an error names the key."""
    references = [leaf for leaf in leaves(tree) if _has_reference(leaf.value)]
    for leaf in references:
        try:
            OmegaConf.select(tree, leaf.key, throw_on_resolution_failure=True)
        except OmegaConfBaseException as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(f"{leaf.key}={leaf.value}: cannot be filled in ({reason})") from error
    OmegaConf.resolve(tree)


def _has_reference(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_has_reference(item) for item in value.values())
    if isinstance(value, list):
        return any(_has_reference(item) for item in value)
    return isinstance(value, str) and "${" in value


def _check_leaf(leaf: Leaf) -> None:
    if leaf.field is None:
        raise ConfigError(unknown_key_sentence(leaf.key, [leaf.key.rpartition(".")[0] or leaf.key]))
    check_value(leaf.key, leaf.value, leaf.field)


def refuse_untyped(composed: Composed, tables: Tables, folders: ConfigFolders) -> None:
    """A YAML file without its schema line would load as a plain mapping or as the group's base class: nothing checks it."""
    tree = composed.tree
    for key in map(str, tree):
        names = [name for group, name in tables.schemas if group == key]
        node_class = OmegaConf.get_type(tree, key) if names and not OmegaConf.is_missing(tree, key) else None
        if node_class is not None and node_class not in [_resolve(tables.schemas[key, name]) for name in names]:
            chosen, schemas = composed.choices.get(key), " or ".join(f"{name}_schema" for name in names)
            raise ConfigError(f"{folders.file_of(f'{key}/{chosen}')}: its defaults list must begin with {schemas}")
