"""Owns the settings of the toy family. Imports no torch."""

from dataclasses import dataclass

from qasr_train.config.settings import check_settings, setting


@dataclass
class ToyConfig:
    """A toy and its limits."""

    path: str = setting(help="checkpoint; a directory")
    family: str = setting("toy", help="name; which code reads it")
    max_duration_s: float = setting(30.0, gt=0, help="seconds; the longest clip")

    def __post_init__(self) -> None:
        check_settings(self, "model")

    def locations(self) -> list[str | None]:
        """Where its files lie."""
        return [self.path]
