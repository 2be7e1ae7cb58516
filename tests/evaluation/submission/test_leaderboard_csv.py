"""leaderboard.csv: written only for a run that the leaderboard could list, in its own columns, figures by hand."""

import csv
import io
import json
from dataclasses import replace

import pytest

from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.evaluation.submission.leaderboard_csv import leaderboard_csv, write_leaderboard_csv
from qasr_train.jobs.recipes import load_config
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction
from tests.helpers import SHARED, needs_shared

NOVEMBER = "leaderboard-2026-11"
ENGLISH = ["ami", "earnings22", "gigaspeech", "librispeech_clean", "librispeech_other", "spgispeech", "voxpopuli"]


def _scores(sets, normalizer="leaderboard-2026-08", **fields):
    """sets: name -> wrong words of 100."""
    rows = []
    for name, wrong in sets.items():
        hypothesis = " ".join(["word"] * (100 - wrong) + ["other"] * wrong)
        language = {"fleurs": name[-2:], "mcv": name[-2:], "mls": name[-2:]}.get(name.split("_")[0], "en")
        values = {
            "duration_s": 30.0,
            "time_s": 0.1,
            "language": {"en": "English", "de": "German"}.get(language, "French"),
        }
        values |= fields
        rows.append(Prediction(None, text=" ".join(["word"] * 100), pred_text=hypothesis, id="u", set=name, **values))
    return score_predictions(rows, get_normalizer(normalizer))


def _line(scores):
    (line,) = csv.DictReader(io.StringIO(leaderboard_csv(scores)))
    return line


def test_the_english_line_by_hand():
    scores = _scores({name: wrong for wrong, name in enumerate(ENGLISH, start=1)})
    scores = replace(scores, provenance={"system": "org/model, tuned", "run": {"num_parameters": 600_000_000}})
    assert _line(scores) == {
        "model": "org/model, tuned", "Avg. WER": "4.00", "RTFx": "300.00", "Model size (B)": "0.6", "License": "",
        "AMI WER": "1.00", "Earnings22 WER": "2.00", "Gigaspeech WER": "3.00", "LS Clean WER": "4.00",
        "LS Other WER": "5.00", "SPGISpeech WER": "6.00", "Tedlium WER": "", "Voxpopuli WER": "7.00",
    }  # fmt: skip


def test_the_line_of_november_is_that_of_score_results_by_hand():
    """Its average is not rounded, rates and speeds are printed as Python prints them, what is not known is empty."""
    scores = _scores({name: wrong for wrong, name in enumerate([*ENGLISH, "monsoon_en_in"], start=1)}, NOVEMBER)
    line = _line(replace(scores, provenance={"system": "org/model"}))
    assert list(line)[:9] == [
        "model", "avg", "RTFx", "License", "Size (B)", "# Languages", "Encoder", "Decoder", "Training data disclosure",
    ]  # fmt: skip
    assert list(line.values())[:9] == ["org/model", "4.5", "300.0", "", "", "", "", "", ""]
    assert list(line.values())[9:17] == ["1.0", "2.0", "3.0", "4.0", "5.0", "6.0", "8.0", "7.0"]
    assert list(line.values())[17:] == ["300.0"] * 8
    assert list(line)[15] == "Voice Arena Monsoon WER"
    assert list(line)[-1] == "Voxpopuli-AA-Cleaned RTFx"


def test_seven_sets_are_no_line_of_november():
    assert leaderboard_csv(_scores(dict.fromkeys(ENGLISH, 1), NOVEMBER)) is None


def test_what_is_not_known_is_minus_one_and_the_checkpoint_names_the_model():
    scores = _scores(dict.fromkeys(ENGLISH, 1), time_s=None)
    scores = replace(scores, provenance={"run": {"config": {"model": {"path": "Qwen/Qwen3-ASR-0.6B"}}}})
    line = _line(scores)
    assert (line["RTFx"], line["Model size (B)"], line["model"]) == ("-1", "-1", "Qwen/Qwen3-ASR-0.6B")


def test_the_leaderboards_own_manifests_are_its_sets():
    names = [
        f"hf-audio-open-asr-leaderboard_{name}_test" for name in ("ami_cleaned", "gigaspeech_cleaned", "spgispeech")
    ]
    names += [f"hf-audio-open-asr-leaderboard_librispeech_test.{name}" for name in ("clean", "other")]
    names += ["hf-audio-open-asr-leaderboard_voxpopuli_cleaned_aa_test"]
    names += ["ArtificialAnalysis-Earnings22-Cleaned-AA-chunked_earnings22_cleaned_aa_chunked_test"]
    assert _line(_scores(dict.fromkeys(names, 2)))["Avg. WER"] == "2.00"
    older = [name.replace("ami_cleaned", "ami") for name in names]
    assert leaderboard_csv(_scores(dict.fromkeys(older, 2))) is None


@pytest.mark.parametrize("suite", ["open_asr_english", "open_asr_multilingual", "open_asr_english_2026_11"])
def test_our_suites_have_the_leaderboards_sets(suite):
    config = load_config("evaluate", [f"suite={suite}", "model.path=x", "run_dir=y"])
    scores = _scores(dict.fromkeys(config.suite.sets, 3), config.suite.normalizer)
    line = _line(scores)
    assert float(line.get("Avg. WER") or line.get("Avg") or line["avg"]) == 3


def test_other_rules_a_missing_set_or_a_failed_recording_give_no_line(tmp_path):
    whole = dict.fromkeys(ENGLISH, 1)
    assert leaderboard_csv(_scores(whole, "qasr-1")) is None
    assert leaderboard_csv(_scores(whole, failed="no audio")) is None
    assert write_leaderboard_csv(tmp_path, _scores(whole)) == tmp_path / "leaderboard.csv"
    del whole["ami"]
    assert write_leaderboard_csv(tmp_path, _scores(whole)) is None  # and the line of an earlier scoring is gone
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("source", [{"max_utterances": 100}, {"only": {"speaker": "f*"}}])
def test_some_rows_of_a_set_are_no_submission(source):
    scores = _scores(dict.fromkeys(ENGLISH, 1))
    whole = {"path": "x", "max_utterances": None, "only": {}}
    for one, is_listed in ((whole, True), (whole | source, False)):
        record = {"config": {"suite": {"sets": {"ami": {"source": one}}}}}
        assert (leaderboard_csv(replace(scores, provenance={"run": record})) is not None) is is_listed


@needs_shared
def test_the_header_is_that_of_the_published_table():
    published = json.loads((SHARED / "scoring" / "leaderboard_csv.json").read_text(encoding="utf-8"))
    header = leaderboard_csv(_scores(dict.fromkeys(ENGLISH, 1))).splitlines()[0]
    assert header.split(",") == list(published["en_shortform"][0])
    names = [f"fleurs_{code}" for code in "de fr it es pt".split()] + [f"mcv_{code}" for code in "de es fr it".split()]
    names += [f"mls_{code}" for code in "es fr it pt".split()]
    line = leaderboard_csv(_scores(dict.fromkeys(names, 1)))
    assert line.splitlines()[0].split(",") == list(published["multilingual"][0])
    assert line.splitlines()[1].split(",")[3:] == ["1.00"] * 14
