"""Write a checkpoint for others to load: merged, as an adapter, or in the original layout, with a model card."""

from qasr_train.config.command_line import run_recipe
from qasr_train.jobs.export import export
from qasr_train.jobs.settings.export import ExportConfig


def run(config: ExportConfig) -> None:
    """Export, and say what was written where."""
    out = export(config)
    print(f"exported {config.checkpoint} to {out}: layout {config.layout.value}, weights in {config.dtype.value}")


if __name__ == "__main__":
    run_recipe("export", run)
