"""The spellings taken against every way to write small lattices out, aligned by rapidfuzz."""

import itertools
import random

from rapidfuzz.distance import Levenshtein

from qasr_train.evaluation.spellings.lattice import best_spellings


def _written_out(slots, choice):
    return [token for slot, number in zip(slots, choice, strict=True) for token in slot[number]]


def _random_lattice(rng):
    spelling = lambda: tuple(rng.choices("abcd", k=rng.choice([0, 1, 1, 1, 2, 3])))  # noqa: E731
    return [list(dict.fromkeys(spelling() for _ in range(rng.randint(1, 3)))) for _ in range(rng.randint(0, 4))]


def test_no_way_to_write_a_random_lattice_out_has_fewer_errors():
    rng = random.Random(4)
    for _ in range(1500):
        slots, heard = _random_lattice(rng), rng.choices("abcde", k=rng.randint(0, 6))
        ways = list(itertools.product(*(range(len(slot)) for slot in slots)))
        errors = {way: Levenshtein.distance(_written_out(slots, way), heard) for way in ways}
        chosen = tuple(best_spellings(slots, heard))
        assert errors[chosen] == min(errors.values()), (slots, heard, chosen)


def test_of_equals_the_one_with_fewer_substitutions_then_more_tokens_right_then_the_first_is_taken():
    assert best_spellings([[("x",), ()]], ["b"]) == [1]  # an insertion rather than a substitution
    assert best_spellings([[("a",), ("a", "b", "c")]], ["a", "b"]) == [1]  # one error each; two tokens right
    assert best_spellings([[("x",), ("y",)], [("b",)]], ["b"]) == [0, 0]
    assert best_spellings([[("y",), ("x",)], [("b",)]], ["b"]) == [0, 0]
    assert best_spellings([[("um",), ()], [("b",)]], ["b"]) == [1, 0]


def test_a_spelling_of_several_tokens_may_be_one_in_the_hypothesis():
    slots = [[("the",)], [("white", "paper"), ("whitepaper",)], [("says",)]]
    assert best_spellings(slots, "the whitepaper says".split()) == [0, 1, 0]
    assert best_spellings(slots, "the white paper says".split()) == [0, 0, 0]


def test_a_long_text_is_aligned_in_one_go():
    slots = [[(f"w{number}",), (f"v{number}",)] for number in range(1000)]
    heard = [f"{'wv'[number % 2]}{number}" for number in range(1000)]
    assert best_spellings(slots, heard) == [number % 2 for number in range(1000)]
