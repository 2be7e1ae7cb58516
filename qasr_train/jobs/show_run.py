"""Owns the job of `recipes/show_run.py`: the page of a training run made again, of one that is at work, or older than the page.

Input: ShowRunConfig. Output: an HTML file; on stdout how far the run is and what is best.
"""

from pathlib import Path

from qasr_train.errors import ConfigError
from qasr_train.files import os_error_sentence
from qasr_train.jobs.settings.show_run import ShowRunConfig
from qasr_train.run.history import require_history
from qasr_train.run.page import told_of, write_run_page


def show_run(config: ShowRunConfig) -> None:
    """Write the page, and say shortly what it says.

    Raises:
        ConfigError: `run` is no training that has written figures, or the page cannot be written.
    """
    run_dir = Path(config.run).expanduser()
    history = require_history(run_dir)
    out = None if config.out is None else Path(config.out).expanduser()
    try:
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
        path = write_run_page(run_dir, history, out, config.allow_text)
    except OSError as error:
        told = os_error_sentence(error, out or run_dir)
        place = f"{out or run_dir}: cannot be written ({error.strerror}); choose another place with out=FILE"
        raise ConfigError(told or place) from error
    print(*told_of(history), f"page: {path}", sep="\n")
