"""What recipes print and write is what scripts/proofs.py froze under tests/frozen; losses within the reach of other CPUs."""

import re
from pathlib import Path

import pytest

from scripts.proof_calls import PARTS
from scripts.proofs import FROZEN, environment, frozen, run_part, short_diff
from tests.helpers import ROOT

RELATIVE = 1e-3  # another CPU sums in another order
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w.])")
HEARD = ("jobs", "evaluate")  # parts that hold probabilities of a model's tokens
OF_ONE_MACHINE = (".tensors",)  # digests of weights: any other order of a sum changes them


def is_same(expected: str, found: str, *, relative: float) -> bool:
    """Equal text, its numbers within a relative tolerance."""
    if expected == found or relative == 0:
        return expected == found
    before, after = NUMBER.findall(expected), NUMBER.findall(found)
    is_near = len(before) == len(after) and all(
        float(b) == pytest.approx(float(a), rel=relative, abs=1e-6) for a, b in zip(before, after, strict=True)
    )
    return is_near and NUMBER.sub("#", expected) == NUMBER.sub("#", found)


def compare(part: str, *, relative: float = 0.0) -> None:
    found, expected = run_part(part, ROOT), frozen(part)
    assert found.keys() == expected.keys()
    different = [
        f"{file}\n{short_diff(text.splitlines(), found[file].splitlines())}"
        for file, text in expected.items()
        if not file.endswith(OF_ONE_MACHINE) and not is_same(text, found[file], relative=relative)
    ]
    assert not different, "\n".join(different)


@pytest.mark.slow  # .ci/run runs it
def test_scores_and_comparisons() -> None:
    compare("scores")


@pytest.mark.slow
@pytest.mark.parametrize("part", [part for part in PARTS if part not in ("scores", "losses")])
def test_texts(part: str) -> None:
    compare(part, relative=RELATIVE if part in HEARD else 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("call", [chain[0].name for chain in PARTS["losses"]])
def test_losses(call: str) -> None:
    compare(f"losses/{call}", relative=RELATIVE)


def test_every_call_is_frozen_and_nothing_else() -> None:
    for part, chains in PARTS.items():
        names = [call.name for chain in chains for call in chain]
        assert sorted(names) == sorted(path.name.removesuffix(".txt") for path in (FROZEN / part).iterdir())
        assert len(set(names)) == len(names)


def test_frozen_files_name_no_path_of_a_machine() -> None:
    for path in sorted(FROZEN.rglob("*")):
        if path.is_file() and path.suffix != ".flac":
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"(?<![\w.<>])/(?:work|home|tmp|root|usr|Users|private)/", text), path


def test_a_tolerance_forgives_digits_and_nothing_else() -> None:
    assert is_same('{"loss": 5.1234567, "n": 3}', '{"loss": 5.1234999, "n": 3}', relative=RELATIVE)
    assert not is_same('{"loss": 5.12, "n": 3}', '{"loss": 5.14, "n": 3}', relative=RELATIVE)
    assert not is_same('{"loss": 5.12, "n": 3}', '{"loss": 5.12, "m": 3}', relative=RELATIVE)
    assert not is_same('{"loss": 5.12}', '{"loss": 5.12, "n": 3}', relative=RELATIVE)


def test_recipes_run_with_the_package_of_their_checkout(tmp_path: Path) -> None:
    assert environment(tmp_path)["PYTHONPATH"] == str(tmp_path)
