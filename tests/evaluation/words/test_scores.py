"""Words to check of whole runs: which words are wrong and how sure, terms, calibration, files, what the report says."""

import json
import math
import random
from dataclasses import replace
from pathlib import Path

import pytest

from qasr_train.errors import ConfigError, DataError, UserError
from qasr_train.evaluation.explorer.rows import explorer_row
from qasr_train.evaluation.report.content import scores_report
from qasr_train.evaluation.report.html import render_html
from qasr_train.evaluation.scoring.run_files import write_scores
from qasr_train.evaluation.scoring.score import ScoredRun, score_predictions
from qasr_train.evaluation.words.calibrated import with_words
from qasr_train.evaluation.words.confidences import JudgedWords, judged_words
from qasr_train.evaluation.words.settings import Aggregate, WordsConfig
from qasr_train.evaluation.words.tables import reading_sentences, shades_of
from qasr_train.models.blocks.text_pieces import TextPiece
from qasr_train.text.normalize import get_normalizer
from qasr_train.text.terms import read_terms
from qasr_train.text.tokens import tokens
from qasr_train.transcription.predictions import Prediction, write_predictions


def prediction(text: str, said: list[tuple[str, float]], name: str = "u", **fields) -> Prediction:
    """said: tokens of the output with their probabilities."""
    heard = "".join(token for token, _ in said)
    pieces = tuple(TextPiece(len(token), math.log(share)) for token, share in said)
    values = {"set": "s", "language": "English", "speaker": name} | fields
    return Prediction(name, 1.0, 0.1, text, heard, id=name, pieces=pieces, **values)


def words_of(one: Prediction, aggregate: Aggregate = Aggregate.product, normalizer: str = "qasr-2") -> JudgedWords:
    rules = get_normalizer(normalizer)
    words = judged_words(score_predictions([one], rules).rows[0], rules, aggregate)
    assert words is not None
    return words


SAID = [
    ("He", 0.9),
    (" took", 0.8),
    (" met", 0.5),
    ("for", 0.4),
    ("min", 0.5),
    (",", 0.1),
    (" twenty", 0.6),
    (" one", 0.5),
    (" pills", 0.9),
]


@pytest.mark.parametrize(
    ("aggregate", "metformin", "number"),
    [(Aggregate.product, 0.1, 0.3), (Aggregate.min, 0.4, 0.5), (Aggregate.mean, 0.1 ** (1 / 3), 0.3**0.5)],
)
def test_tokens_become_words_and_words_numbers(aggregate: Aggregate, metformin: float, number: float) -> None:
    words = words_of(prediction("he took metformin 20 pills today", SAID), aggregate)
    assert words.confidences == pytest.approx([0.9, 0.8, metformin, number, 0.9]), "the comma is another doubt"
    assert words.is_wrong == [False, False, False, True, False], "21 for 20"
    assert words.num_deleted == 1


def test_a_word_that_becomes_two_has_its_confidence_twice_and_fillers_none() -> None:
    words = words_of(
        prediction("i do not know", [("Uh", 0.2), (" I", 0.9), (" don", 0.5), ("'t", 0.8), (" know", 0.7)])
    )
    assert words.confidences == pytest.approx([0.9, 0.4, 0.4, 0.7])
    assert not any(words.is_wrong)


def test_languages_without_spaces_have_characters() -> None:
    words = words_of(prediction("你好吗", [("你好", 0.5), ("妈", 0.3), ("。", 0.9)], language="Chinese"))
    assert words.confidences == pytest.approx([0.5, 0.5, 0.3])
    assert words.is_wrong == [False, False, True]


def test_merged_compounds_are_right_on_either_side() -> None:
    one = prediction("the white paper", [("the", 0.9), (" white", 0.5), ("paper", 0.5)], language="German")
    words = words_of(replace(one, language="English"), normalizer="leaderboard-2026-08")
    assert words.confidences == pytest.approx([0.9, 0.25]) and words.is_wrong == [False, False]
    rules = get_normalizer("leaderboard-2026-08")
    row = score_predictions([replace(one, language="English")], rules).rows[0]
    shown = explorer_row(row, rules, confidences=words.confidences)
    assert (shown["a"], shown["k"]) == (["the white paper"], [900, 250, 250]), "the reference's words are shown"


def test_rows_without_probabilities_are_counted_and_enter_nothing_else() -> None:
    rules = get_normalizer("none")
    known = prediction("a b", [("a", 0.9), (" c", 0.2)], "u")
    untold = replace(prediction("a b c", [("a", 0.9), (" x", 0.2)], "v"), pieces=None)
    run = score_predictions([known, untold], rules)
    assert run.words is not None
    figures = run.words.overall
    assert (figures.num_words, figures.num_wrong, figures.num_unknown) == (2, 1, 2)
    assert figures.readings[0].of_all_percent == pytest.approx(100 / 3, abs=0.01), "one of 1 + 2 errors"
    assert score_predictions([untold], rules).words is None


def runs() -> tuple[ScoredRun, ScoredRun]:
    """Of two sets, dev and test: one word in ten wrong, most unsure words among them."""
    rows = []
    for number in range(120):
        heard, name = "x" if number % 5 == 0 else "a", "dev" if number % 2 else "test"
        share = 0.6 if heard == "x" or number % 7 == 0 else 0.9
        rows.append(
            prediction("a b", [(heard, share), (" b", 0.95)], f"{name}{number}", set=name, speaker=f"s{number % 7}")
        )
    rules = get_normalizer("none")
    return score_predictions(rows, rules), score_predictions([row for row in rows if row.set == "dev"], rules)


def test_calibrated_on_a_set_which_enters_no_figure(tmp_path: Path) -> None:
    run, _ = runs()
    calibrated = with_words(run, WordsConfig(dev_sets=["dev"]))
    assert calibrated.words is not None and calibrated.word_measure.calibration is not None
    assert reading_sentences(calibrated.words)[0].endswith(" Without dev, on which confidences were calibrated.")
    assert list(calibrated.words.sets) == ["test"] and calibrated.words.overall.num_words == 120
    assert calibrated.word_measure.calibration.num_words == 120
    write_scores(tmp_path, calibrated)
    written = json.loads((tmp_path / "scores.json").read_text())["words"]
    assert written["calibration"]["source"] == "dev" and written["dev_sets"] == ["dev"]
    first = json.loads((tmp_path / "utterances.jsonl").read_text().splitlines()[1])
    line = calibrated.word_measure.calibration
    assert first["word_confidences"][1] == pytest.approx(
        1 / (1 + math.exp(-(line.slope * math.log(19) + line.intercept))), abs=1e-4
    )


def test_calibrated_on_another_run(tmp_path: Path) -> None:
    run, dev = runs()
    test = score_predictions([row.prediction for row in run.rows if row.prediction.set == "test"], run.normalizer)
    write_predictions(tmp_path / "predictions.jsonl", [row.prediction for row in dev.rows])
    by_run = with_words(test, WordsConfig(dev_run=str(tmp_path))).word_measure.calibration
    by_set = with_words(run, WordsConfig(dev_sets=["dev"])).word_measure.calibration
    assert by_run is not None and by_set is not None
    assert (by_run.slope, by_run.intercept) == pytest.approx((by_set.slope, by_set.intercept), abs=1e-3)
    with pytest.raises(DataError, match="60 of its utterances, the first 'dev1', are also in the run that is scored"):
        with_words(run, WordsConfig(dev_run=str(tmp_path)))


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (WordsConfig(dev_sets=["devel"]), r"words.dev_sets=\[devel\]: no such set; there are dev, test"),
        (WordsConfig(dev_run="/nowhere"), "words.dev_run=/nowhere: no such file or folder; name the predictions"),
        (WordsConfig(dev_sets=["dev", "test"]), r"words.dev_sets=\[dev,test\]: leaves no set to measure"),
    ],
)
def test_mistakes_are_said(config: WordsConfig, text: str) -> None:
    with pytest.raises(UserError, match=text):
        with_words(runs()[0], config)


def test_without_probabilities_nothing_can_be_calibrated() -> None:
    run, _ = runs()
    silent = score_predictions([replace(row.prediction, pieces=None) for row in run.rows], run.normalizer)
    with pytest.raises(ConfigError, match=r"words.dev_sets=\[dev\]: the predictions tell no probabilities"):
        with_words(silent, WordsConfig(dev_sets=["dev"]))


@pytest.mark.parametrize("shares", [[], [5.0, 1.0], [5.0, 5.0]])
def test_shares_to_read_rise(shares: list[float]) -> None:
    with pytest.raises(ConfigError, match="words.read_percents="):
        WordsConfig(read_percents=shares)


def test_the_sentence_says_what_reading_finds_terms_apart_and_that_deletions_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "terms.txt").write_text("metformin\nheparin\n")
    rows = [
        prediction("take metformin now", [("take", 0.9), (" met", 0.2), (" now", 0.9)], "u0"),
        prediction("take heparin now", [("take", 0.9), (" now", 0.9)], "u1"),
        *(prediction("a b", [("a", 0.99), (" b" if n else " c", 0.9)], f"v{n}") for n in range(8)),
    ]
    run = score_predictions(rows, get_normalizer("none"), terms=read_terms(str(tmp_path / "terms.txt")))
    [sentence] = reading_sentences(run.words)
    # 21 words, 2 wrong (met, c), one deleted: 5 % is 2 words, one of the wrong ones among them.
    assert sentence.startswith(
        "Reading the 5 % least sure words (2 of 21, confidence up to 0.900) finds 50.0 % of the wrong words ["
    )
    assert "and 33.3 % of all errors [" in sentence and "1 were deletions, which leave no word to read." in sentence
    assert "On terms it finds 1 of 1 wrong words, 100.0 % [" in sentence and sentence.endswith("1 more are missing.")
    report = scores_report(run)
    page = render_html(report)
    assert (
        sentence in report.lead
        and "Confidence and truth" in page
        and 'class="unsure3">1 % (confidence up to 0.200)' in page
    )
    assert [one.percent for one in shades_of(run.words)] == [1.0, 5.0, 10.0]
    assert report.explored[0]["k"] == [900, 200, 900]


def test_where_nothing_is_wrong_there_is_nothing_to_find() -> None:
    run = score_predictions([prediction("a b", [("a", 0.9), (" b", 0.8)])], get_normalizer("none"))
    assert reading_sentences(run.words) == ["Words to check: none of the 2 words whose confidence is known is wrong."]
    assert reading_sentences(None) == [] and shades_of(None) == []
    assert scores_report(run).illustrations


def test_whatever_is_written_each_word_has_its_confidence() -> None:
    written = "one two 21 1,000 2.5 % $5 mg twenty-one don't uh, white paper whitepaper - … 10:30 你好 。 ﬁ é\u0301 @ oh".split(
        " "
    )
    drawn = random.Random(0)
    for _ in range(150):
        text, heard = (drawn.choice([" ", ""]).join(drawn.choices(written, k=drawn.randint(0, 8))) for _ in range(2))
        language = drawn.choice(["English", "German", "Chinese", "Korean", None])
        rules = get_normalizer(drawn.choice(["qasr-2", "leaderboard-2026-08", "none"]))
        one = prediction(text, [(letter, drawn.uniform(0.1, 1)) for letter in heard], language=language)
        row = score_predictions([one], rules).rows[0]
        words = judged_words(row, rules, Aggregate.mean)
        if row.is_scored:
            assert words is not None and len(words.confidences) == len(
                tokens(row.counts.normalized_hypothesis, language)
            )
