"""Owns the job of `recipes/export.py`: a checkpoint in, a directory out that others load, with a model card.

Input: ExportConfig. Output: the directory, and a line on stdout.
"""

from pathlib import Path

from qasr_train.jobs.settings.export import ExportConfig
from qasr_train.models.exporting.weights import Export
from qasr_train.models.exporting.write import Written, write_export


def run(config: ExportConfig) -> None:
    """Export, and say what was written where; raises as `write_export`."""
    done = _write(config)
    out = Path(config.out).expanduser()
    print(f"exported {config.checkpoint} to {out}: layout {done.layout.value}, weights in {done.dtype.value}")


def export(config: ExportConfig) -> Path:
    """Write the export and its README.md; returns the directory. Raises as `write_export`."""
    _write(config)
    return Path(config.out).expanduser()


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
