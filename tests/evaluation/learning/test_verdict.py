"""The verdict on a learning curve: planted runs give each of its answers, and what they do not show gives none."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from qasr_train.evaluation.learning.amounts import Amount
from qasr_train.evaluation.learning.curve import AmountRuns, Curve, make_curve
from qasr_train.evaluation.learning.verdict import Answer, Share, is_still_falling, share_p_value
from qasr_train.evaluation.report.curve import curve_page, curve_summary
from qasr_train.evaluation.scoring.score import ScoredRun, score_predictions
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction

WORDS = "a b c d e f g h i j".split()
KNOWN, HALF, FIFTH = [0] * 59 + [1], [4, 5, 5, 6] * 15, [1, 2, 2, 3] * 15  # errors of 60 clips of ten words


def run_of(errors: Sequence[int], name: str = "own") -> ScoredRun:
    """A clip for each number, with so many of its ten words wrong; six clips a speaker."""
    rows = [
        Prediction(
            None, 1.0, 0.1, " ".join(WORDS), " ".join(["x"] * wrong + WORDS[wrong:]),
            id=str(number), set=name, language="English", speaker=f"s{number % 10}",
        )
        for number, wrong in enumerate(errors)
    ]  # fmt: skip
    return score_predictions(rows, get_normalizer("none"))


def curve_of(few: Sequence[int], many: Sequence[int], taught: Sequence[int], longer: Sequence[int] = ()) -> Curve:
    runs = [
        AmountRuns(Amount(60), [run_of(few)], [run_of(KNOWN, "taught")]),
        AmountRuns(Amount(240), [run_of(many)], [run_of(taught, "taught")] if taught else []),
    ]
    return make_curve("main", "own", runs, AmountRuns(Amount(240), [run_of(longer)]) if longer else None)


@pytest.mark.parametrize(
    ("few", "many", "taught", "longer", "answer", "said"),
    [
        (HALF, FIFTH, KNOWN, (), Answer.more_data, "what was taught is known (0.17 % wrong), the tests are not (20.00 %), and "
         "the curve still falls (-30.00 points"),
        (HALF, FIFTH, FIFTH, (), Answer.more_data, "heard about as the tests are (20.00 and 20.00 % wrong), and the curve still"),
        (FIFTH, FIFTH, FIFTH, [0, 1, 1, 1] * 15, Answer.longer, "and longer training helps (-12.50 points"),
        (FIFTH, FIFTH, FIFTH, FIFTH, Answer.limit, "than 60 (+0.00 points, 95 % interval -0.60 to 0.60), nor"),
        (FIFTH, FIFTH, FIFTH, (), Answer.unknown, "longer=2 with resume=true trains the largest amount twice as long"),
        (FIFTH, FIFTH, [10] * 8 + FIFTH[8:], (), Answer.faulty, "8 of 60 clips that were taught are heard as something else "
         "(over 75 % wrong), of the tests 0 of 60"),
        (FIFTH, HALF, KNOWN, (), Answer.faulty, "with 240 clips the tests are heard worse than with 60 (+30.00 points"),
        (KNOWN, FIFTH[::-1], HALF, (), Answer.faulty, "with 240 clips the tests are heard worse"),
        (FIFTH, FIFTH, HALF, (), Answer.faulty, "what was taught is heard worse (50.00 %) than the tests (20.00 %)"),
        (FIFTH, FIFTH, KNOWN, (), Answer.faulty, "what is learned there does not carry over"),
        (HALF, FIFTH, (), (), Answer.unknown, "no clip that was taught was transcribed; set num_taught_clips above 0"),
        (FIFTH, [0] * 60, KNOWN, (), Answer.unknown, "the tests hold no error any more"),
    ],
)  # fmt: skip
def test_planted_runs_give_each_answer(
    few: list[int], many: list[int], taught: list[int], longer: list[int], answer: Answer, said: str
) -> None:
    verdict = curve_of(few, many, taught, longer).verdict
    assert verdict and verdict.answer is answer, verdict
    assert said in verdict.sentence()


def test_few_speakers_show_nothing_and_are_asked_for_more() -> None:
    verdict = curve_of([2, 3, 2, 1], [1, 3, 2, 2], [0] * 60).verdict
    assert (
        verdict
        and verdict.answer is Answer.unknown
        and "whether the curve still falls is not shown" in verdict.sentence()
    )


def test_one_amount_beside_the_model_before_training_is_no_curve() -> None:
    runs = [AmountRuns(Amount(0), [run_of(HALF)]), AmountRuns(Amount(60), [run_of(FIFTH)], [run_of(KNOWN)])]
    curve = make_curve("main", "own", runs)
    assert curve.verdict and "only one amount was trained on; give other amounts" in curve.verdict.sentence()


def test_a_loss_that_still_falls_means_longer(tmp_path: Path) -> None:
    rows = [f'{{"step": {n}, "train/loss_nats": {3.0 - 0.1 * n}}}\n' for n in range(1, 17)]
    (tmp_path / "metrics.jsonl").write_text("".join(rows))
    few = AmountRuns(Amount(60), [run_of(FIFTH)], [run_of(FIFTH)])
    many = AmountRuns(Amount(240), [run_of(FIFTH)], [run_of(FIFTH)], tmp_path)
    verdict = make_curve("main", "own", [few, many]).verdict
    assert verdict and verdict.answer is Answer.longer and "the loss still fell" in verdict.because
    flat = replace(many, folder=None)
    verdict = make_curve("main", "own", [few, flat]).verdict
    assert verdict and verdict.answer is Answer.unknown


def test_noise_on_a_level_loss_is_no_fall() -> None:
    draw = random.Random(0)
    level = [[draw.gauss(1.0, 0.2) for _ in range(40)] for _ in range(50)]
    assert sum(bool(is_still_falling(losses)) for losses in level) <= 1
    falling = [[2.0 * 0.97**step + draw.gauss(0, 0.02) for step in range(40)] for _ in range(20)]
    assert all(is_still_falling(losses) for losses in falling)
    assert is_still_falling([3.0, 2.0, 1.0]) is None


def test_the_share_test_is_fishers() -> None:
    # The lady tasting tea: 3 of 4 against 1 of 4, 17/70; 4 of 4 against none, 1/70.
    assert share_p_value(Share(3, 4), Share(1, 4)) == pytest.approx(17 / 70)
    assert share_p_value(Share(4, 4), Share(0, 4)) == pytest.approx(1 / 70)


def test_page_and_table_show_what_was_taught_and_the_verdict() -> None:
    curve = curve_of(HALF, FIFTH, KNOWN)
    assert "verdict: more data" in curve_summary(curve, "out") and "trained on, %" in curve_summary(curve, "out")
    page = curve_page(curve, {})
    assert "verdict: more data" in page and "no forecast: a law needs 3 amounts, and there are 2" in page
