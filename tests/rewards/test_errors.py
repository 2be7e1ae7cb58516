"""Rewards made of errors: every value by hand, and the counts those of the evaluation."""

import pytest

from qasr_train.evaluation.scoring.alignment import score_utterances
from qasr_train.evaluation.scoring.rates import primary_counts
from qasr_train.rewards.base import Asked, Hypothesis
from qasr_train.rewards.errors import error_count, gated_errors, word_errors
from qasr_train.rewards.judge import Judge
from qasr_train.rewards.settings import RewardRules
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction

TEN = "one two three four five six seven eight nine ten"  # 48 characters


def judge(normalizer: str = "none") -> Judge:
    return Judge(RewardRules(normalizer=normalizer, gate_error_rate=0.3))


def asked(reference: str, language: str | None = "English") -> Asked:
    return Asked(reference, language, (), 1.0)


def heard(text: str) -> Hypothesis:
    return Hypothesis(text, "English", 5, True)


def test_a_plain_reward_is_one_minus_the_error_rate_and_falls_below_zero() -> None:
    assert word_errors(asked("a b c d"), heard("a x c"), judge()) == pytest.approx(1 - 2 / 4)
    assert word_errors(asked("a"), heard("b c d"), judge()) == pytest.approx(1 - 3)


def test_characters_are_counted_where_the_language_is_scored_so() -> None:
    assert word_errors(asked("你好世界", "Chinese"), heard("你好 世"), judge()) == pytest.approx(1 - 1 / 4)
    assert error_count(asked("你好世界", "Chinese"), heard("你好 世"), judge()) == -1.0


def test_a_clip_without_speech_has_a_count_and_no_rate() -> None:
    assert word_errors(asked(""), heard("a b"), judge()) is None
    assert gated_errors(asked(""), heard("a b"), judge()) is None
    assert error_count(asked(""), heard("a b"), judge()) == -2.0


def test_a_row_the_normaliser_leaves_out_teaches_nothing() -> None:
    row = asked("ignore time segment in scoring", "German")
    for reward in (word_errors, error_count, gated_errors):
        assert reward(row, heard("etwas"), judge("leaderboard-2026-08")) is None


def test_within_the_gate_characters_decide_between_equal_numbers_of_word_errors() -> None:
    # One of ten words wrong, e = 0.1: 0.4 * 0.9 + 0.6 * (1 - c); "ten" for "pen" is one of 48 characters, for "zoo" three.
    near, far = (gated_errors(asked(TEN), heard(TEN.replace("ten", word)), judge()) for word in ("pen", "zoo"))
    assert near == pytest.approx(0.4 * 0.9 + 0.6 * (1 - 1 / 48))
    assert far == pytest.approx(0.4 * 0.9 + 0.6 * (1 - 3 / 48))


def test_beyond_the_gate_what_was_kept_in_order_decides() -> None:
    # Four of ten kept, six left out, e = 0.6: 0.4 * 0.4 + 0.6 * 0.7 * 4 / 10.
    assert gated_errors(asked(TEN), heard("one two three four"), judge()) == pytest.approx(0.16 + 0.42 * 0.4)
    # The same four, and ten words that nobody said: 6 substitutions and 4 insertions, e = 1.0, and n is the longer, 14.
    long = gated_errors(asked(TEN), heard("one two three four " + " ".join("qrstuvwxyz")), judge())
    assert long == pytest.approx(0.42 * 4 / 14)
    assert gated_errors(asked(TEN), heard(""), judge()) == 0.0


def test_no_answer_beyond_the_gate_is_worth_more_than_one_within() -> None:
    # Three of ten words wrong by many characters: c is cut at the gate, so d = 0.7, the most there is beyond it.
    far = TEN.replace("one", "z" * 20).replace("two", "y" * 20).replace("ten", "x" * 20)
    within = gated_errors(asked(TEN), heard(far), judge())
    assert within == pytest.approx(0.4 * 0.7 + 0.6 * 0.7)
    # Four words left out, the most that can be kept beyond the gate: 0.4 * 0.6 + 0.6 * 0.7 * 6 / 10.
    beyond = gated_errors(asked(TEN), heard("one two three four five six"), judge())
    assert beyond == pytest.approx(0.24 + 0.252) and beyond < within


def test_an_answer_that_repeats_itself_is_worth_nothing_under_the_gate() -> None:
    assert gated_errors(asked(TEN), heard(TEN + " ten" * 8), judge()) == 0.0
    assert gated_errors(asked("no " * 8), heard("no " * 8), judge()) == 1.0  # as it was said


@pytest.mark.parametrize("normalizer", ["qasr-2", "leaderboard-2026-08", "none"])
@pytest.mark.parametrize(
    ("reference", "hypothesis", "language"),
    [
        ("It's twenty two, Dr. Smith.", "its 22 doctor smyth", "English"),
        ("der Haus Arzt kommt", "der hausarzt kommt an", "German"),
        ("今日は。", "今日 わ", "Japanese"),
    ],
)
def test_errors_are_those_of_the_evaluation(normalizer: str, reference: str, hypothesis: str, language: str) -> None:
    row = Prediction(
        audio_filepath=None, duration_s=None, time_s=None, text=reference, pred_text=hypothesis, language=language
    )
    [score] = score_utterances([row], get_normalizer(normalizer))
    compared = judge(normalizer).compared(asked(reference, language), heard(hypothesis))
    assert (compared.num_errors, compared.num_expected) == primary_counts(score)
