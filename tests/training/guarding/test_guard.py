"""What a guard measures of transcripts, by hand, and what it makes of figures that get worse."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from qasr_train.errors import ConfigError
from qasr_train.run.page import _GUARDED
from qasr_train.text.normalize import get_normalizer
from qasr_train.text.terms import TermList
from qasr_train.training.checkpoint import TrainState
from qasr_train.training.guarding.guard import WATCHED, Guard, dev_figures, make_guard
from qasr_train.training.saving import describe_result
from qasr_train.training.settings import GuardConfig, OnWorse, TrainerConfig
from qasr_train.training.validation import Selection
from qasr_train.transcription.predictions import Prediction


def prediction(
    text: str, heard: str, language: str | None = "English", told: str | None = "English", **fields
) -> Prediction:
    values = {"audio_filepath": None, "duration_s": 1.0, "time_s": None, "id": f"{text}{heard}", "set": "dev"}
    return Prediction(text=text, pred_text=heard, language=language, predicted_language=told, **(values | fields))


def figures(*rows: Prediction, terms: TermList | None = None) -> dict[str, float]:
    return dev_figures(rows, get_normalizer("qasr-2"), watches=True, terms=terms)


def test_deletions_and_insertions_are_of_the_words_or_characters_of_the_references() -> None:
    rows = [prediction("two small pills a day", "two pills"), prediction("now then", "now and then again please")]
    for name in ("deletion_percent", "insertion_percent"):
        assert figures(*rows)[name] == pytest.approx(300 / 7, abs=1e-4)
    found = figures(prediction("今天很好", "今天好", "Chinese", "Chinese"))
    assert (found["deletion_percent"], found["insertion_percent"], found["error_rate"]) == (25.0, 0.0, 25.0)


def test_a_language_left_out_is_wrong_and_a_clip_without_speech_has_none() -> None:
    rows = [
        prediction("a b", "a b"),
        prediction("a c", "a c", told="German"),
        prediction("a d", "a d", told=None),
        prediction("", "", told=None),
        prediction("a e", "a e", language=None),
    ]
    assert figures(*rows)["wrong_language_percent"] == pytest.approx(200 / 3, abs=1e-4)


def test_loops_inventions_echoes_and_terms_are_counted() -> None:
    rows = [
        prediction("yes", "yes " + "no " * 8),
        prediction("", "thank you"),
        prediction(" ", "", told=None),
        prediction("take aspirin", "take metoprolol", context="aspirin, metoprolol, digoxin"),
    ]
    found = figures(*rows, terms=TermList("t", "d", {"aspirin": "aspirin", "metoprolol": "metoprolol", "yes": "yes"}))
    assert found["loop_percent"] == 25.0
    assert found["hallucination_percent"] == 50.0
    assert found["context_echo_percent"] == 50.0  # one of the two that were not spoken
    assert found["term_precision_percent"] == 50.0  # of "yes" and "metoprolol"


def test_nothing_more_than_before_is_measured_without_a_guard() -> None:
    found = dev_figures([prediction("a b", "a")], get_normalizer("qasr-2"))
    assert found.keys() == {"wer_percent", "cer_percent", "error_rate", "broken_percent"}


def guard(said: list[str] | None = None, **fields) -> Guard:
    made = make_guard(GuardConfig(**({"action": OnWorse.stop} | fields)), [].append if said is None else said.append)
    assert made is not None
    return made


def test_a_figure_is_past_its_margin_by_more_than_it_and_fewer_true_terms_are_worse() -> None:
    before = {
        "dev/a/deletion_percent": 2.0,
        "dev/a/term_precision_percent": 90.0,
        "dev/a/error_rate": 9.0,
        "dev/error_rate": 9.0,
    }
    now = {
        "dev/a/deletion_percent": 3.0,
        "dev/a/term_precision_percent": 87.5,
        "dev/a/error_rate": 4.0,
        "dev/error_rate": 99.0,
    }
    assert dict(guard().past(before, now)) == {
        "dev/a/term_precision_percent": "dev/a/term_precision_percent 90.00 before training, now 87.50, past "
        "trainer.guard.term_precision_points=2"
    }
    assert [name for name, _ in guard(deletion_points=0.9, term_precision_points=None).past(before, now)] == [
        "dev/a/deletion_percent"
    ]
    assert not dict(guard(sets=["b*"]).past(before, now))
    assert not dict(guard().past({}, now)), "what was not measured before training is not compared"


def test_every_margin_has_its_figure_and_the_page_draws_each() -> None:
    assert GuardConfig().margins().keys() == WATCHED.keys() == {"error_rate", *_GUARDED}


def run(
    watch: Guard | None, rates: list[tuple[float, float]], patience: int | None = None
) -> tuple[TrainState, list[int]]:
    """The state after validations of (error rate, deletions), the first before training, and the steps that were the best."""
    left = iter(rates)

    def validate(step: int) -> dict[str, float]:
        rate, deletion = next(left)
        return {"dev/error_rate": rate, "dev/a/error_rate": rate, "dev/a/deletion_percent": deletion}

    class Silent:
        def log(self, figures: dict, *, step: int) -> None: ...

    selection = Selection(validate, Silent(), "dev/error_rate", 1, patience, measures_start=True, guard=watch)
    state, best = TrainState(), []
    selection.begin(state)
    while not selection.is_over(state) and state.step < len(rates) - 1:
        state.step += 1
        # What a kill and a resume leave of it: the state goes through its file.
        state = TrainState(**json.loads(json.dumps(asdict(state))))
        selection.take(state)
        best.append(state.best_step or 0)
    return state, best


def test_a_run_stops_after_as_many_validations_in_a_row_as_it_has_patience() -> None:
    said: list[str] = []
    rates = [(9.0, 2.0), (8.0, 2.5), (7.0, 4.0), (6.0, 2.0), (5.0, 4.0), (4.0, 4.0), (3.0, 4.0)]
    state, best = run(guard(said, patience=2), rates)
    # Past its margin at steps 2, 4 and 5; the best is among the others.
    assert (state.step, best) == (5, [1, 1, 3, 3, 3])
    assert state.num_past_margin == {"dev/a/deletion_percent": 2}
    assert [line.split(":")[0] for line in said] == ["guard, step 2", "guard, step 4", "guard, step 5", "guard"]
    told = describe_result(Path("runs/x"), state)
    assert (
        "past the margins of trainer.guard at the last validation: dev/a/deletion_percent 2.00 -> 4.00; best at step 3"
        in told
    )
    assert guard(patience=2).is_over(state) and not guard(patience=2, deletion_points=3.0).is_over(state)


def test_a_warning_goes_on_and_a_validation_past_a_margin_brings_no_gain() -> None:
    rates = [(9.0, 2.0), (8.0, 4.0), (7.0, 4.0), (6.0, 4.0)]
    state, best = run(guard(action=OnWorse.warn), rates)
    assert (state.step, best, state.num_validations_without_gain) == (3, [0, 0, 0], 3)
    assert "as at every validation, so that none is the best" in describe_result(Path("runs/x"), state)
    assert run(guard(action=OnWorse.warn), rates, patience=2)[0].step == 2
    assert run(None, rates)[1] == [1, 2, 3]


def test_settings_without_a_baseline_or_a_margin_are_refused() -> None:
    assert make_guard(GuardConfig(), print) is None
    with pytest.raises(ConfigError, match=r"trainer.guard.action=warn compares with the figures before the first step"):
        TrainerConfig(guard=GuardConfig(action=OnWorse.warn), validate_at_start=False)
    with pytest.raises(ConfigError, match=r"trainer.guard.action=stop watches nothing: every margin is null"):
        GuardConfig(action=OnWorse.stop, **{f"{name}_points": None for name in WATCHED})
