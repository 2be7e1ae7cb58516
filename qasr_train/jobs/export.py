"""Owns the job of `recipes/export.py`: a checkpoint in, a directory out that others load, with a model card.

Input: ExportConfig. Output: the directory, and a line on stdout.
"""

import logging
from pathlib import Path

from qasr_train.jobs.settings.export import ExportConfig
from qasr_train.models.exporting.weights import Export
from qasr_train.models.exporting.write import Written, write_export
from qasr_train.models.settings import ExportDtype

_log = logging.getLogger(__name__)


def run(config: ExportConfig) -> None:
    """Export, and say what was written where; raises as `write_export`."""
    done = _write(config)
    out = Path(config.out).expanduser()
    changed = f"; {done.difference.sentence()}" if done.difference else ""
    print(f"exported {config.checkpoint} to {out}: layout {done.layout.value}, weights in {done.dtype.value}{changed}")
    if done.difference and not done.difference.num_changed:
        _log.warning("%s: %s", out, _nothing_learned(config, done))


def export(config: ExportConfig) -> Path:
    """Write the export and its README.md; returns the directory. Raises as `write_export`."""
    _write(config)
    return Path(config.out).expanduser()


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


def _write(config: ExportConfig) -> Written:
    return write_export(
        Export(
            checkpoint=config.checkpoint,
            target=config.target,
            layout=config.layout,
            dtype=config.dtype,
            average=config.average,
            strength=config.strength,
            base=config.base,
            revision=config.revision,
            scores=config.scores,
            max_shard_bytes=config.max_shard_bytes,
        ),
        Path(config.out),
    )
