"""The probes on planted transcripts: who knows the published texts lights all three up, who hears lights none."""

from collections.abc import Callable

import pytest

from qasr_train.evaluation.honesty.page import honesty_page, honesty_row, honesty_summary
from qasr_train.evaluation.honesty.probes import (
    NUMBERS,
    REFERENCES,
    SPELLINGS,
    Heard,
    Light,
    ProbeResult,
    Rules,
    run_probes,
)
from qasr_train.evaluation.scoring.metrics import Resampling
from qasr_train.evaluation.scoring.score import ScoredRun, score_predictions
from qasr_train.evaluation.scoring.significance import ResampleBy
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction

RULES = Rules(get_normalizer("qasr-2"), Resampling(resample_by=ResampleBy.utterance), 10.0, 0)
NUMBER_WORDS = "twenty thirty forty fifty sixty seventy eighty ninety".split()


def spoken(n: int) -> str:
    return f"they met the minister about {NUMBER_WORDS[n % 8]} new honours in town {n}x"


def published(n: int) -> str:
    """With a wrong word in every other row, and two spellings by turns."""
    text = spoken(n).replace("minister", "gardener") if n % 2 else spoken(n)
    return text.replace("honours", "honors") if n % 3 else text


def without_number(n: int) -> str:
    return published(n).replace(NUMBER_WORDS[n % 8] + " ", "")


def run_of(heard: Callable[[int], str], num_clips: int = 40, reference: Callable[[int], str] = published) -> ScoredRun:
    rows = [
        Prediction(
            None, 1.0, 0.1, reference(n), heard(n),
            id=str(n), set="x", language="English", speaker=f"s{n % 10}",
        )
        for n in range(num_clips)
    ]  # fmt: skip
    return score_predictions(rows, RULES.normalizer)


KNOWS = Heard(run_of(published), run_of(published))
HEARS = Heard(run_of(spoken), run_of(without_number))
RIGHT = {str(n): spoken(n) for n in range(40)}


def by_name(results: list[ProbeResult]) -> dict[str, ProbeResult]:
    return {one.name: one for one in results}


@pytest.mark.parametrize("baseline", [None, HEARS])
def test_who_knows_the_texts_lights_every_probe_up(baseline: Heard | None) -> None:
    results = by_name(run_probes(KNOWS, baseline, RIGHT, RULES))
    assert {name: one.light for name, one in results.items()} == dict.fromkeys(
        (REFERENCES, NUMBERS, SPELLINGS), Light.lit
    )
    assert (results[REFERENCES].num_hits, results[REFERENCES].of) == (20, 20)
    assert (results[NUMBERS].num_hits, results[NUMBERS].of) == (40, 40)
    assert (results[REFERENCES].baseline_percent == 0.0) is (baseline is not None)
    assert (
        results[REFERENCES].examples[0].known == "gardener" and results[REFERENCES].examples[0].expected == "minister"
    )


@pytest.mark.parametrize("baseline", [None, HEARS])
def test_who_hears_lights_none_up(baseline: Heard | None) -> None:
    results = by_name(run_probes(HEARS, baseline, RIGHT, RULES))
    assert [results[name].num_hits for name in (REFERENCES, NUMBERS)] == [0, 0]
    assert Light.lit not in {one.light for one in results.values()}
    assert results[SPELLINGS].light is Light.dark and "kappa 0.00" in results[SPELLINGS].because


def test_of_alternatives_the_first_is_what_was_published() -> None:
    def stated(n: int) -> str:
        return published(n).replace("they met", "{ they / we } { met / have met / @ }")

    right = {id_: text.replace("in town", "in { town / towns }") for id_, text in RIGHT.items()}
    knows, hears = (
        Heard(run_of(one, reference=stated), run_of(other, reference=stated))
        for one, other in ((published, published), (spoken, without_number))
    )
    assert run_probes(knows, hears, right, RULES) == run_probes(KNOWS, HEARS, RIGHT, RULES)


def test_a_mask_that_misses_is_heard_by_the_baseline_too() -> None:
    everyone = Heard(HEARS.as_it_is, KNOWS.masked)
    results = by_name(run_probes(everyone, everyone, None, RULES))
    assert results[NUMBERS].num_hits == 40 and results[NUMBERS].light is Light.dark
    assert results[REFERENCES].light is Light.unknown and "corrected=FILE" in results[REFERENCES].because


def test_a_probe_without_anything_to_ask_says_so() -> None:
    results = by_name(run_probes(Heard(HEARS.as_it_is, None), None, {}, RULES))
    assert "no clip holds a number" in results[NUMBERS].because
    assert results[REFERENCES].because == "the test set holds no wrong words that were published"


def test_few_clips_and_doubtful_shares_decide_nothing() -> None:
    few = run_of(published, 4)
    results = by_name(run_probes(Heard(few, few), None, RIGHT, RULES))
    assert results[NUMBERS].light is Light.unknown and "4 clips decide nothing" in results[NUMBERS].because
    some = Heard(HEARS.as_it_is, run_of(lambda n: published(n) if n % 8 == 0 else without_number(n)))
    doubtful = by_name(run_probes(some, None, None, RULES))[NUMBERS]
    assert doubtful.light is Light.unknown and "give a baseline" in doubtful.because


def test_a_baseline_that_switches_as_well_clears_the_training() -> None:
    model = Heard(KNOWS.as_it_is, None)
    result = by_name(run_probes(model, model, None, RULES))[SPELLINGS]
    assert result.light is Light.dark and result.because.endswith("so it is not of this training")


def test_page_and_table_name_the_light_and_escape_texts() -> None:
    results = run_probes(KNOWS, HEARS, RIGHT, RULES)
    page = honesty_page(results, "<b>model", "base")
    assert "<tr class=lit>" in page and "&lt;b&gt;model" in page and "<b>" not in page
    assert "LIGHTS UP" in honesty_summary(results, "out")
    row = honesty_row(results, "model", "base")
    assert row["probes"][0]["light"] == "LIGHTS UP" and row["probes"][0]["test"]["p_value"] < 0.05
