"""Spelling switches: a habit has a kappa of nothing, a model that knows each row has one of 1."""

from collections.abc import Callable

import pytest

from qasr_train.evaluation.honesty.renderings import Agreement, Pair, find_renderings, measure_agreement
from qasr_train.text.normalize import get_normalizer

RULES = get_normalizer("qasr-2")
NAMES = [f"{a} {b}" for a in ("Anna", "Bert", "Carla", "Dieter") for b in ("came", "went", "sang", "slept", "ate")]


def measured(heard: Callable[[int, str, str], str]) -> Agreement:
    """Twenty rows in which the reference writes colour or color, twenty or 20, by turns."""
    pairs = []
    for number, name in enumerate(NAMES):
        spelling, count = "colour" if number % 2 else "color", "twenty" if number % 3 else "20"
        reference = f"{name} with the {spelling} of {count} flowers."
        pairs.append(Pair(str(number), reference, heard(number, name, reference), "English"))
    return measure_agreement(find_renderings(pairs, RULES), seed=0)


@pytest.mark.parametrize("habit", [("colour", "twenty"), ("color", "20"), ("colour", "20")])
def test_a_habit_agrees_by_chance_alone(habit: tuple[str, str]) -> None:
    found = measured(lambda n, name, _: f"{name} with the {habit[0]} of {habit[1]} flowers")
    assert (found.num_places, found.kappa) == (40, 0.0) and found.p_value > 0.5


def test_who_knows_each_row_switches_with_it() -> None:
    found = measured(lambda n, name, reference: reference.upper() if n else f"{name} with the colour of twenty flowers")
    assert found.kappa and found.kappa > 0.85 and found.p_value < 0.001


def test_who_follows_every_switch_differs_nowhere_and_is_found_all_the_same() -> None:
    found = measured(lambda n, name, reference: reference)
    assert (found.num_places, found.num_agreed, found.kappa) == (40, 40, 1.0) and found.p_value < 0.001


def test_two_words_against_one_are_ways_too() -> None:
    pairs = [Pair(str(n), t, t, "English") for n, t in enumerate(["he is twenty five now", "she is 25 now"] * 10)]
    assert measure_agreement(find_renderings(pairs, RULES), seed=0).num_places == 20


def test_words_that_are_heard_wrong_are_no_places() -> None:
    assert measured(lambda n, name, _: f"{name} with the cover of plenty flowers") == Agreement(0, 0, 0.0, None, 1.0)


def test_references_that_never_switch_say_nothing() -> None:
    pairs = [Pair(str(n), "the colour", "the color" if n % 2 else "the colour", "English") for n in range(20)]
    assert measure_agreement(find_renderings(pairs, RULES), seed=0).num_places == 0
