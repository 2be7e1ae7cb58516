"""Owns the job of `recipes/export.py`: a checkpoint in, a directory out that others load, with a model card.

Input: ExportConfig. Output: the directory, and a line on stdout.
"""

from pathlib import Path

from qasr_train.jobs.settings.export import ExportConfig
from qasr_train.models.qwen3_asr.export import Export, write_export


def run(config: ExportConfig) -> None:
    """Export, and say what was written where; raises as `export`."""
    out = export(config)
    print(f"exported {config.checkpoint} to {out}: layout {config.layout.value}, weights in {config.dtype.value}")


def export(config: ExportConfig) -> Path:
    """Write the export and its README.md; returns the directory. Raises as `write_export`."""
    return write_export(
        Export(
            checkpoint=config.checkpoint,
            layout=config.layout,
            dtype=config.dtype,
            average=config.average,
            strength=config.strength,
            base=config.base,
            revision=config.revision,
            scores=config.scores,
        ),
        Path(config.out),
    )
