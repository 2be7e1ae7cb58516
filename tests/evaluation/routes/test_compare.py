"""Routes beside the first: texts, non-inferiority, percentiles, and what the page lists."""

from collections.abc import Callable

import pytest

from qasr_train.errors import DataError
from qasr_train.evaluation.routes.compare import Route, Standing, compare_routes, different_texts
from qasr_train.evaluation.routes.page import routes_page, routes_row, routes_summary
from qasr_train.evaluation.scoring.metrics import Resampling
from qasr_train.evaluation.scoring.score import ScoredRun, score_predictions
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction

WORDS = "the small house by the river was sold last summer".split()
NUM_CLIPS = 200


def run_of(said: Callable[[int], str], *, failed: tuple[int, ...] = (), num_clips: int = NUM_CLIPS) -> ScoredRun:
    rows = [
        Prediction(
            None, 1.0, 0.1, " ".join(WORDS), said(n), id=f"u{n}", set="clips", language="English", speaker=f"s{n % 20}",
            failed="no sound" if n in failed else None,
        )
        for n in range(num_clips)
    ]  # fmt: skip
    return score_predictions(rows, get_normalizer("qasr-2"))


def right(n: int) -> str:
    return " ".join(WORDS)


def wrong_from(share: int) -> Callable[[int], str]:
    """One word wrong in every so many clips, of varying speakers."""
    return lambda n: right(n) if n % share else "this " + " ".join(WORDS[1:])


FIRST = Route("ours", "our decoder", run_of(right), [0.1] * 99 + [1.0], 2**30)


@pytest.mark.parametrize(
    ("said", "standing"),
    [
        (right, Standing.same),
        (lambda n: right(n).upper() + ".", Standing.no_worse),  # other texts, the same words
        (wrong_from(37), Standing.no_worse),  # 6 of 2,000 words
        (wrong_from(3), Standing.worse),  # 67 of 2,000
        (lambda n: right(n) if n % 20 else "no", Standing.unknown),  # 100 of 2,000, all of one of twenty speakers
    ],
)
def test_a_route_is_the_same_no_worse_worse_or_cannot_be_told(said: Callable[[int], str], standing: Standing) -> None:
    [first, other] = compare_routes([FIRST, Route("other", "x", run_of(said))], 1.0, Resampling())
    assert (first.standing, other.standing) == (Standing.first, standing)
    assert first.test is None and first.num_equal == NUM_CLIPS


def test_counts_percentiles_and_failures_are_the_routes_own() -> None:
    other = Route("other", "x", run_of(lambda n: right(n).upper() if n < 5 else right(n), failed=(7, 8)))
    [first, result] = compare_routes([FIRST, other], 1.0, Resampling())
    assert (result.num_clips, result.num_equal, result.num_same_words, result.num_failed) == (198, 193, 198, 2)
    assert first.latencies_s == [0.1, 0.1, pytest.approx(0.109)] and result.latencies_s == []
    assert result.standing is Standing.no_worse  # equal words, but two clips were not heard


def test_every_text_that_differs_is_listed_with_why_one_failed() -> None:
    other = Route("other", "x", run_of(lambda n: "z" if n == 3 else right(n), failed=(1,)))
    found = different_texts([FIRST, other])
    assert [one.id for one in found] == ["u1", "u3"]
    assert found[0].texts == {"ours": right(1), "other": "(failed: no sound)"} and found[1].texts["other"] == "z"


def test_routes_over_other_clips_are_refused() -> None:
    with pytest.raises(DataError, match="route 'other' has not heard the clips that 'ours' has"):
        compare_routes([FIRST, Route("other", "x", run_of(right, num_clips=20))], 1.0, Resampling())


def test_page_and_table_have_a_row_a_route_and_escape_texts() -> None:
    other = Route("<b>other", "python <i>", run_of(lambda n: "<script>" if n % 2 else right(n)))
    results, texts = compare_routes([FIRST, other], 1.0, Resampling()), different_texts([FIRST, other])
    page = routes_page(results, texts, 1.0)
    assert "<script>" not in page and "&lt;script&gt;" in page and "<tr class=worse>" in page
    assert "not all write the same: 100" in page
    summary = routes_summary(results, len(texts), 1.0, "out")
    assert "100/200" in summary and "WORSE" in summary and "0.109" in summary
    row = routes_row(results, texts, 1.0)
    assert [one["standing"] for one in row["routes"]] == ["the first", "WORSE"] and len(row["different"]) == 100
