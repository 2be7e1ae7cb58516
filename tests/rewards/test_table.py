"""The total of weighted rewards, and what is refused of them."""

from pathlib import Path

import pytest

from qasr_train.errors import ConfigError
from qasr_train.rewards.base import Asked, Hypothesis
from qasr_train.rewards.settings import RewardRules
from qasr_train.rewards.table import REWARDS, check_weights, make_rewards

TIMES_WRONG = Hypothesis("take aspirin twice", None, 4, True)


def test_the_total_is_the_weighted_mean_of_what_the_clip_can_say() -> None:
    rewards = make_rewards({"word_errors": 3.0, "language": 1.0, "term_recall": 5.0, "truncation": 0.0}, RewardRules())
    judged = rewards(Asked("take aspirin thrice", "English", (), 1.0), TIMES_WRONG)
    assert judged.parts == {"word_errors": pytest.approx(2 / 3), "language": 0.0, "term_recall": None}
    assert judged.total == pytest.approx((3 * 2 / 3 + 1 * 0.0) / 4)
    judged = rewards(Asked("take aspirin thrice", "English", ("aspirin",), 1.0), TIMES_WRONG)
    assert judged.total == pytest.approx((3 * 2 / 3 + 1 * 0.0 + 5 * 1.0) / 9)


def test_there_is_no_total_where_no_reward_can_say_anything() -> None:
    judged = make_rewards({"invented_words": 1.0}, RewardRules())(Asked("take", "English", (), 1.0), TIMES_WRONG)
    assert judged.total is None and judged.parts == {"invented_words": None}


def test_whether_a_reward_can_say_anything_depends_on_the_clip_alone(tmp_path: Path) -> None:
    (tmp_path / "terms.txt").write_text("aspirin\n")
    rewards = make_rewards(dict.fromkeys(REWARDS, 1.0), RewardRules(terms=str(tmp_path / "terms.txt")))
    answers = [
        Hypothesis(text, language, 3, is_finished)
        for text in ("", "Take aspirin, uh, 20 times.", "no " * 20)
        for language in (None, "English", "German")
        for is_finished in (True, False)
    ]
    for reference in ("", "take aspirin", "uh", "nothing of the kind"):
        for language in ("English", "Chinese", None):
            asked = Asked(reference, language, (), 1.0)
            known = {
                tuple(name for name, value in rewards(asked, one).parts.items() if value is None) for one in answers
            }
            assert len(known) == 1, (reference, language)


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ({"word_erors": 1.0}, "objective.rewards.word_erors: no such reward; did you mean word_errors"),
        ({"qqq": 1.0}, "objective.rewards.qqq: no such reward; choose from word_errors, gated_errors"),
        ({"language": -1.0}, "objective.rewards.language=-1: a weight is 0"),
        ({"language": 0.0}, "objective.rewards gives no reward a weight"),
        ({}, "objective.rewards gives no reward a weight"),
    ],
)
def test_weights_that_tell_nothing_are_refused(weights: dict[str, float], sentence: str) -> None:
    with pytest.raises(ConfigError, match="^" + sentence):
        check_weights(weights)


def test_a_normaliser_that_is_none_is_named_by_its_key() -> None:
    with pytest.raises(ConfigError, match=r"^objective.reward_rules.normalizer=qasr-9: unknown; choose one of"):
        RewardRules(normalizer="qasr-9")


def test_a_term_list_that_is_not_there_is_named_by_its_key() -> None:
    with pytest.raises(ConfigError, match=r"^objective.reward_rules.terms=nowhere.txt: cannot be read"):
        make_rewards({"term_recall": 1.0}, RewardRules(terms="nowhere.txt"))
