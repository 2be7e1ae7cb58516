"""References with several right spellings, scored through `score_predictions`."""

import random

import pytest

from qasr_train.errors import ConfigError, DataError
from qasr_train.evaluation.comparing.compare import compare_runs
from qasr_train.evaluation.report.content import scores_report
from qasr_train.evaluation.scoring.alignment import score_utterances
from qasr_train.evaluation.scoring.run_files import load_run, scores_row, write_scores
from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.evaluation.scoring.utterance import TakenSpelling
from qasr_train.text.alternatives.lexicon import read_spellings
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction, load_predictions, write_predictions


def _row(text, heard, language="English", id_="1"):
    return Prediction(None, None, None, text, heard, id=id_, set="s", language=language)


def _score(text, heard, normalizer="qasr-2", language="English", lexicon=None):
    [row] = score_utterances([_row(text, heard, language)], get_normalizer(normalizer), lexicon=lexicon)
    return row


def _lexicon(tmp_path, text):
    (tmp_path / "spellings.txt").write_text(text, encoding="utf-8")
    return read_spellings(tmp_path / "spellings.txt")


def test_the_spelling_with_the_fewest_errors_is_taken_and_its_words_are_counted():
    row = _score("The { um / @ } Doctor's { e mail / email } came", "the doctor's email came", "none")
    assert row.counts.normalized_reference == "The Doctor's email came"
    assert (row.counts.substitutions, row.counts.deletions, row.counts.insertions) == (2, 0, 0)  # capitals
    assert row.counts.num_reference_words == 4
    assert row.spellings == (TakenSpelling("", ("um", "")), TakenSpelling("email", ("e mail", "email")))


def test_the_path_is_normalised_as_a_whole_once_it_is_chosen():
    row = _score("It costs { Twenty-Five / a Quarter } euros!", "it costs 25 euros")  # "€25" on both sides
    assert row.counts.num_errors == 0 and row.spellings == (TakenSpelling("25", ("25", "a quarter")),)


def test_spellings_that_normalise_alike_are_one_path_normalised_as_a_whole():
    plain, stated = (_score(text, "it is 20 5") for text in ("it is Twenty FIVE", "it is { Twenty / twenty } FIVE"))
    assert stated.counts == plain.counts and not stated.spellings


@pytest.mark.parametrize("normalizer", ["none", "qasr-2", "leaderboard-2026-08", "leaderboard-2026-11"])
def test_a_reference_with_one_path_has_plain_error_counts(normalizer):
    rng = random.Random(3)
    words = ["White", "paper", "twenty", "five", "uh,", "colour", "it's", "5", "Mr.", "whitepaper"]
    for _ in range(40):
        said, heard = ([rng.choice(words) for _ in range(rng.randint(0, 8))] for _ in range(2))
        place = rng.randint(0, len(said))
        in_group = [*said[:place], "{", *said[place:], "}"] if said[place:] else said
        plain, stated = (_score(" ".join(text), " ".join(heard), normalizer) for text in (said, in_group))
        assert stated.counts == plain.counts and stated.is_scored is plain.is_scored


def test_a_lexicon_makes_spellings_equal_in_its_language_only(tmp_path):
    lexicon = _lexicon(tmp_path, "[English]\nhaemoglobin\thb\nper day\tdaily\tq d\n")
    row = _score("Haemoglobin twice per day { now / later }", "HB twice daily later", lexicon=lexicon)
    assert row.counts.num_errors == 0 and row.counts.num_reference_words == 4
    assert [one.taken for one in row.spellings] == ["later", "hb", "daily"]
    assert _score("haemoglobin per day", "hb daily", language="German", lexicon=lexicon).counts.num_errors == 3


def test_in_languages_without_spaces_the_path_is_taken_by_characters(tmp_path):
    lexicon = _lexicon(tmp_path, "[Chinese]\n他们\t她们\n")
    row = _score("他们来了", "她们来", language="Chinese", lexicon=lexicon)
    assert (row.counts.num_character_errors, row.counts.num_reference_characters) == (1, 4)
    assert [one.taken for one in row.spellings] == ["她们"]


def test_hindi_of_the_leaderboard_is_scored_against_its_lattice():
    row = _score('[["मैं"], ["हूँ", "हूं"], ["घर"]]', "मैं हूं।", "leaderboard-2026-11", "Hindi")
    assert (row.counts.deletions, row.counts.num_errors, row.counts.num_reference_words) == (1, 1, 3)


def test_compounds_of_hindi_are_not_joined_and_those_of_english_are():
    hindi = _score("घर वाला है", "घरवाला है", "leaderboard-2026-11", "Hindi")
    assert hindi.counts.num_errors == 2
    assert _score("a white paper", "a whitepaper", "leaderboard-2026-11").counts.num_errors == 0


def test_an_unclosed_group_is_refused_with_the_line_it_stands_in(tmp_path):
    file = tmp_path / "p.jsonl"
    file.write_text('{"text": "a", "pred_text": ""}\n{"text": "the { a / b", "pred_text": ""}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"p\.jsonl:2: an alternative is opened"):
        score_predictions(load_predictions(file).predictions, get_normalizer("none"))


def test_a_run_is_written_read_and_reported_with_the_spellings_taken(tmp_path):
    lexicon = _lexicon(tmp_path, "grey\tgray\n")
    rows = [_row("a { colour / color }", "a color"), _row("grey", "gray", id_="2"), _row("grey", "grey", id_="3")]
    run = score_predictions(rows, get_normalizer("none"), lexicon=lexicon)
    assert run.overall["wer_percent"] == 0
    told = scores_row(run)["spellings"]
    assert told == {
        "file": lexicon.path,
        "digest": lexicon.digest,
        "num_groups": 1,
        "num_places": 3,
        "num_other_than_first": 2,
    }
    write_scores(tmp_path / "run", run)
    read = load_run(tmp_path / "run")
    assert read.lexicon == run.lexicon and [row.spellings for row in read.rows] == [row.spellings for row in run.rows]
    report = scores_report(read)
    [table] = [table for table in report.tables if table.title == "Spellings taken"]
    assert sorted(table.rows) == [
        ["colour / color", "color", "1"],
        ["grey / gray", "gray", "1"],
        ["grey / gray", "grey", "1"],
    ]
    assert {row["i"]: row.get("v") for row in report.explored}["1"] == [["color", "colour"]]


def test_by_other_rules_a_run_is_scored_anew_with_its_own_lexicon_unless_that_has_changed(tmp_path):
    lexicon = _lexicon(tmp_path, "grey\tgray\n")
    rows = [_row("Grey.", "gray")]
    write_predictions(tmp_path / "run" / "predictions.jsonl", rows)
    write_scores(tmp_path / "run", score_predictions(rows, get_normalizer("none"), lexicon=lexicon))
    assert load_run(tmp_path / "run").overall["wer_percent"] == 100
    assert load_run(tmp_path / "run", get_normalizer("qasr-2")).overall["wer_percent"] == 0
    other = _lexicon(tmp_path, "gray\tgrey\n")
    with pytest.raises(ConfigError, match="which has changed since; give spellings= to score anew"):
        load_run(tmp_path / "run", get_normalizer("qasr-2"))
    assert load_run(tmp_path / "run", lexicon=other).lexicon.digest == other.digest


def test_runs_by_two_lexicons_are_not_compared(tmp_path):
    rows = [_row("grey cat", "gray cat"), _row("a", "a", id_="2")]
    with_it = score_predictions(rows, get_normalizer("none"), lexicon=_lexicon(tmp_path, "grey\tgray\n"))
    with pytest.raises(DataError, match="give spellings= to score both with the same lexicon"):
        compare_runs(score_predictions(rows, get_normalizer("none")), with_it)
    assert compare_runs(with_it, with_it).overall.test.delta_percent == 0
