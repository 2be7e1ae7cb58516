"""Owns the rules that rewards go by. Their weights, by name, are a setting of the objective. Imports no torch."""

from dataclasses import dataclass
from enum import Enum

from qasr_train.config.settings import check_settings, setting
from qasr_train.text.normalize import DEFAULT_NORMALIZER, get_normalizer


class Style(str, Enum):
    """How hesitations are written, for the reward `style`."""

    clean = "clean"  # without uh and um
    verbatim = "verbatim"  # as many of them as the reference has


@dataclass
class RewardRules:
    """By which rules answers are compared with references."""

    normalizer: str = setting(
        DEFAULT_NORMALIZER,
        help="name; the normaliser of errors, terms and repetitions: the one of the suite that will judge",
    )
    terms: str | None = setting(
        None,
        help="path; term list, a term a line, for rows without terms of their own. null: such rows have no term reward",
    )
    row_terms: bool = setting(
        False,
        help="whether what a row's own context offers, parted by commas, are its terms; rows that offer none go by the list",
    )
    gate_error_rate: float = setting(
        0.3, gt=0, lt=1, help="share of the reference; above it gated_errors ranks by what was kept, not by errors"
    )
    style: Style = setting(Style.clean, help="for the reward style: clean leaves uh and um out, verbatim keeps them")

    def __post_init__(self) -> None:
        check_settings(self, "objective.reward_rules")
        get_normalizer(self.normalizer, "objective.reward_rules.normalizer")
