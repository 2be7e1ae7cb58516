"""Owns the settings of `show_run`."""

from dataclasses import dataclass

from qasr_train.config.settings import check_settings, setting


@dataclass
class ShowRunConfig:
    """The page of a training run, made again."""

    run: str = setting(help="directory; the run_dir of a fine-tune, at work or over")
    out: str | None = setting(None, help="file for the page. null: report.html in the folder of the run")
    allow_text: bool | None = setting(
        None,
        help="whether sample transcripts stand in the page, if the run kept any (trainer.num_samples). null: as "
        "tracking.allow_text of the run",
    )

    def __post_init__(self) -> None:
        check_settings(self, "show_run")
