"""The power law through a learning curve: it finds planted ones, its band holds them, and it says when not to trust it."""

import numpy as np
import pytest

from qasr_train.evaluation.learning.extrapolation import Extrapolation, extrapolate

AMOUNTS = [50, 100, 200, 400, 800]


def planted(rates: list[float], seed: int, *, num_seeds: int = 2) -> Extrapolation:
    """A curve of these rates as 300 utterances of ten words show it."""
    draw = np.random.default_rng(seed)
    errors = np.array([draw.binomial(10, rate, size=(num_seeds, 300)) for rate in rates])
    return extrapolate(AMOUNTS[: len(rates)], errors, np.full_like(errors, 10), np.arange(300) // 10, seed)


def law(clips: float, floor: float = 0.0) -> float:
    return floor + 2.0 * clips**-0.5


def test_the_band_holds_what_a_planted_law_gives() -> None:
    held = {0.0: 0, 0.04: 0}
    for floor in held:
        for seed in range(20):
            first = planted([law(n, floor) for n in AMOUNTS], seed).forecasts[0]
            assert first.num_clips == 1600
            held[floor] += first.low_percent <= 100 * law(1600, floor) <= first.high_percent
    assert min(held.values()) >= 17, held


def test_a_clean_law_is_found_and_not_doubted() -> None:
    found = planted([law(n) for n in AMOUNTS], 3)
    assert [one.percent for one in found.forecasts] == pytest.approx([100 * law(1600), 100 * law(3200)], abs=1.0)
    assert found.doubts == []
    assert found.sentences()[0].startswith("if the power law holds: 1,600 clips ")


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ([0.3, 0.25], "no forecast: a law needs 3 amounts, and there are 2"),
        ([0.3, 0.2, 0.14], "do not rely on it: 3 amounts cannot show a floor"),
        ([0.3, 0.2, 0.14], "the largest amount is 4.0 times the smallest, less than 8 times"),
        ([0.2, 0.2, 0.2, 0.2, 0.2], "the curve does not surely fall"),
        ([0.5, 0.4, 0.32, 0.26, 0.03], "for 800 clips, and 2.93 % was measured"),
    ],
)
def test_what_it_cannot_know_it_says(rates: list[float], said: str) -> None:
    assert said in " ".join(planted(rates, 0).sentences())


def test_one_training_an_amount_is_told() -> None:
    assert "each amount was trained once" in planted([law(n) for n in AMOUNTS], 0, num_seeds=1).doubts[-1]
