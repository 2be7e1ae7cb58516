"""Settings given in Python are what the same settings typed on a command line would be."""

from pathlib import Path

import pytest

from qasr_train.cli.overrides import overrides_of
from qasr_train.config.compose import parse_override
from qasr_train.run.settings import Device

ODD = [
    "a,b",
    "[x]",
    "{y: 1}",
    "a=b",
    "it's",
    "back\\slash",
    "ends in \\",
    "\\'",
    "null",
    "1",
    "true",
    "",
    " x ",
    "été (1)",
]


def test_typed_ones_stay_first_and_mappings_become_dotted_keys() -> None:
    settings = {
        "trainer": {"max_steps": 2, "precision": None},
        "resume": True,
        "out": Path("a/b"),
        "device": Device.cpu,
    }
    assert overrides_of(["seed=1"], settings) == [
        "seed=1",
        "trainer.max_steps=2",
        "trainer.precision=null",
        "resume=true",
        "out='a/b'",
        "device=cpu",
    ]


@pytest.mark.parametrize("value", [*ODD, ODD, 3, 1e-05, False, None, [1, 2.5], []])
def test_a_value_is_read_back_as_it_was(value: object) -> None:
    [override] = overrides_of([], {"key": value})
    parsed = parse_override(override)
    assert not parsed.is_sweep_override()
    assert parsed.value() == as_typed(value)


def as_typed(value: object) -> object:
    """Numbers and booleans stay as they were typed until the schema says what they are (`config/spelling.py`)."""
    if isinstance(value, list):
        return [as_typed(item) for item in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, int | float) else value
