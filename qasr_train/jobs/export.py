"""Owns the job of `recipes/export.py`: a checkpoint in, a directory out that others load, with a model card; to the Hub if asked.

Input: ExportConfig. Output: the directory, and on stdout a line, what the export said otherwise than the checkpoint, what went
up.
"""

import logging
from pathlib import Path
from typing import Any

from qasr_train.evaluation.copies import SameWords, compare_words, hear, load_checked_on, require_same_words
from qasr_train.files import visible
from qasr_train.jobs.settings.export import ExportConfig
from qasr_train.models.base import Recogniser
from qasr_train.models.exporting.family import find_export
from qasr_train.models.exporting.hub import Repository, plan_upload, push, require_login, require_repo_id
from qasr_train.models.exporting.model_card import Statements
from qasr_train.models.exporting.weights import Export
from qasr_train.models.exporting.write import Written, write_export
from qasr_train.models.families import find_family, load_collator, load_model
from qasr_train.models.locations import resolve_checkpoint
from qasr_train.models.lora_files import is_adapter
from qasr_train.models.settings import ExportDtype, ExportLayout, ModelConfig
from qasr_train.run.device import choose_device, choose_dtype
from qasr_train.run.settings import Precision
from qasr_train.transcription.predictions import Prediction
from qasr_train.transcription.sets import UtteranceSet

_log = logging.getLogger(__name__)


def run(config: ExportConfig) -> None:
    """Export, push if asked, and say what went where and how it was checked; raises as `write_export`, `check_export`, `push`."""
    repository = _repository(config)
    if config.out is not None:
        _export(config, Path(config.out).expanduser())
    if repository is not None:
        _push(config, repository)


def export(config: ExportConfig) -> Path:
    """Write the export and its README.md; returns the directory. Raises as `run`."""
    assert config.out is not None, "nothing to write: see `run`"
    _write(config, Path(config.out))
    return Path(config.out).expanduser()


def check_export(folder: Path, written: Export, heard_on: UtteranceSet, config: ExportConfig) -> SameWords:
    """Let the checkpoint, then the export hear the same recordings.

    Args:
        folder: the finished export, under the name it has until it is kept. written: what it is.

    Raises:
        CheckpointError: the export is worse by more than `max_wer_increase`. UserError: one of them cannot transcribe.
    """
    checkpoint = resolve_checkpoint(config.checkpoint, config.revision)
    device = choose_device(config.device)
    dtype = choose_dtype(Precision.auto, device)
    original = _model_config(checkpoint, config)
    _, family = find_export(checkpoint, config.base)
    converter = family.converters.get(written.layout or ExportLayout.native)
    use_context = converter is None or converter.takes_context  # the same for both

    def heard_by(model: Recogniser) -> list[Prediction]:
        return hear(model, heard_on, original.max_duration_s, use_context=use_context)

    before = heard_by(load_model(original, device=device, dtype=dtype))
    if converter:
        after = heard_by(converter.open(folder, load_collator(original), written.dtype, device))
    else:
        after = heard_by(load_model(_model_config(folder, config), device=device, dtype=dtype))
    words = compare_words(before, after)
    require_same_words(words, config.max_wer_increase, f"the export of {config.checkpoint}")
    return words


def _model_config(path: Path, config: ExportConfig) -> ModelConfig:
    named: dict[str, Any] = {"base": config.base} if config.base is not None and is_adapter(path) else {}
    return find_family(find_export(path, config.base)[0]).config(path=str(path), **named)


def _nothing_learned(config: ExportConfig, done: Written) -> str:
    """What an export that is its base comes of."""
    if config.strength == 0:
        return "this is the base itself, as strength=0 says"
    lost = (
        ""
        if done.dtype is ExportDtype.float32
        else f", or what it learned is lost in {done.dtype.value} (try dtype=float32)"
    )
    return f"no weight differs from the base's: the run has learned nothing{lost}"


def _export(config: ExportConfig, out: Path) -> None:
    done, words = _write(config, out)
    changed = f"; {done.difference.sentence()}" if done.difference else ""
    print(f"exported {config.checkpoint} to {out}: layout {done.layout.value}, weights in {done.dtype.value}{changed}")
    if words is not None:
        print(*map(visible, words.lines()), sep="\n")
    if done.difference and not done.difference.num_changed:
        _log.warning("%s: %s", out, _nothing_learned(config, done))


def _write(config: ExportConfig, out: Path) -> tuple[Written, SameWords | None]:
    heard_on = load_checked_on(config.verify_on, "verify_on") if config.verify_on else None
    found: list[SameWords] = []

    def check(folder: Path, written: Export) -> None:
        assert heard_on is not None
        found.append(check_export(folder, written, heard_on, config))

    export = Export(
        checkpoint=config.checkpoint,
        target=config.target,
        layout=config.layout,
        dtype=config.dtype,
        average=config.average,
        strength=config.strength,
        base=config.base,
        revision=config.revision,
        max_shard_bytes=config.max_shard_bytes,
        stated=Statements(config.license, config.results, config.benchmarks, config.hub.repo_id),
    )
    done = write_export(export, out, check if heard_on else None)
    return done, found[0] if found else None


def _repository(config: ExportConfig) -> Repository | None:
    """Where it is to go, refused before an export is written for nothing; None: nowhere."""
    hub = config.hub
    if hub.repo_id is None:
        return None
    require_repo_id(hub.repo_id, "hub.repo_id")
    if not hub.dry_run:
        require_login()
    return Repository(hub.repo_id, hub.private, hub.revision)


def _push(config: ExportConfig, repository: Repository) -> None:
    """What goes up is told before it does."""
    upload = plan_upload(resolve_checkpoint(config.out or config.checkpoint, config.revision), repository)
    print(upload.describe())
    if config.hub.dry_run:
        print("hub.dry_run=true: nothing was sent")
    else:
        print(f"pushed to {push(upload)}")
