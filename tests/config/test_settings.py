"""Settings: defaults are copied, ranges are checked with key, value and meaning in the message."""

from dataclasses import dataclass
from enum import Enum

import pytest

from qasr_train.config.settings import MISSING, check_settings, choices_of, setting
from qasr_train.errors import ConfigError


class Kind(str, Enum):
    """Kinds."""

    one = "one"
    two = "two"


@dataclass
class Example:
    """An example."""

    steps: int = setting(10, ge=1, le=100, help="updates; where it stops")
    share: float = setting(0.5, gt=0, lt=1, help="share; of something")
    patience: int | None = setting(None, ge=1, help="validations. null: off")
    names: list[str] = setting([], help="names")
    weights: dict[str, float] = setting({"a": 1.0}, ge=0, help="name -> weight")
    rate: float = setting(1.0, help="hertz")
    path: str = setting(help="file; to read")

    def __post_init__(self) -> None:
        check_settings(self, "example")


def test_lists_and_dicts_are_copied_for_each_instance() -> None:
    Example().names.append("x")
    assert Example().names == []


def test_a_setting_without_default_is_missing() -> None:
    assert Example().path == MISSING == "???"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"steps": 0}, "example.steps=0: expected at least 1 and at most 100 (updates; where it stops)"),
        ({"steps": 101}, "example.steps=101: expected at least 1 and at most 100 (updates; where it stops)"),
        ({"share": 0.0}, "example.share=0.0: expected more than 0 and less than 1 (share; of something)"),
        ({"share": 1.0}, "example.share=1.0: expected more than 0 and less than 1 (share; of something)"),
        ({"share": float("nan")}, "example.share=nan: expected more than 0 and less than 1 (share; of something)"),
        ({"patience": 0}, "example.patience=0: expected at least 1 (validations. null: off)"),
        ({"weights": {"a": 1.0, "b": -1.0}}, "example.weights.b=-1.0: expected at least 0 (name -> weight)"),
        ({"rate": float("inf")}, "example.rate=inf: expected a finite number (hertz)"),
    ],
)
def test_a_number_out_of_range_is_named_with_its_range(given: dict, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Example(**given)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("given", [{"steps": 1}, {"steps": 100}, {"share": 0.999}, {"patience": 1}, {"steps": MISSING}])
def test_a_number_on_the_edge_of_its_range_is_taken(given: dict) -> None:
    assert Example(**given)


def test_choices_of_an_enum_are_its_names() -> None:
    assert choices_of(Kind) == choices_of(Kind | None) == ["one", "two"]
    assert choices_of(int) == []
