"""Evaluate a fine-tune at several strengths between its base and itself: what is gained against what is forgotten."""

from qasr_train.config.command_line import run_recipe
from qasr_train.jobs.settings.sweep_strength import SweepConfig
from qasr_train.jobs.sweep_strength import sweep_strength, sweep_summary


def run(config: SweepConfig) -> None:
    """Sweep, and print the table."""
    print(sweep_summary(sweep_strength(config), config.run_dir))


if __name__ == "__main__":
    run_recipe("sweep_strength", run)
