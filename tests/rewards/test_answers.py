"""Rewards made of anything but errors, by hand."""

import pytest

from qasr_train.rewards import answers
from qasr_train.rewards.base import Asked, Hypothesis
from qasr_train.rewards.judge import Judge
from qasr_train.rewards.settings import RewardRules, Style

DRUGS = {"metoprolol": "metoprolol", "beta blocker": "beta blocker", "meto prolol": "metoprolol"}


def judge(*, style: Style = Style.clean, spellings: dict[str, str] | None = None) -> Judge:
    return Judge(RewardRules(normalizer="qasr-2", style=style), spellings)


def asked(reference: str, *, language: str | None = "English", terms: tuple[str, ...] = ()) -> Asked:
    return Asked(reference, language, terms, 1.0)


def heard(text: str, *, language: str | None = "English", is_finished: bool = True) -> Hypothesis:
    return Hypothesis(text, language, 5, is_finished)


def test_terms_of_a_list_are_found_by_every_spelling_and_counted_as_often_as_they_stand() -> None:
    row, answer = asked("Metoprolol, a beta blocker. Metoprolol."), heard("Meto prolol and meto pearl, metoprolol too")
    # Spoken: metoprolol twice, beta blocker. Written: metoprolol twice.
    assert answers.term_recall(row, answer, judge(spellings=DRUGS)) == pytest.approx(2 / 3)
    assert answers.term_precision(row, answer, judge(spellings=DRUGS)) == 1.0


def test_the_terms_of_the_row_come_before_those_of_the_list() -> None:
    row, answer = asked("take aspirin", terms=("aspirin", "ibuprofen")), heard("take ibuprofen and metoprolol")
    assert answers.term_recall(row, answer, judge(spellings=DRUGS)) == 0.0
    assert (
        answers.term_precision(row, answer, judge(spellings=DRUGS)) == 0.0
    )  # one written, not spoken; metoprolol is no term


def test_a_row_without_terms_has_no_term_reward_and_one_without_spoken_terms_no_recall() -> None:
    assert answers.term_recall(asked("hello"), heard("hello"), judge()) is None
    assert answers.term_precision(asked("hello"), heard("hello"), judge()) is None
    assert answers.term_recall(asked("hello"), heard("metoprolol"), judge(spellings=DRUGS)) is None
    assert answers.term_precision(asked("hello"), heard("metoprolol"), judge(spellings=DRUGS)) == 0.0
    assert answers.term_precision(asked("hello"), heard("hello"), judge(spellings=DRUGS)) == 1.0


def test_a_language_left_out_is_a_language_told_wrongly() -> None:
    assert answers.language(asked("a"), heard("a"), judge()) == 1.0
    assert answers.language(asked("a"), heard("a", language="German"), judge()) == 0.0
    assert answers.language(asked("a"), heard("a", language=None), judge()) == 0.0
    assert answers.language(asked("a", language=None), heard("a"), judge()) is None


def test_words_on_a_clip_without_speech_cost_by_their_number() -> None:
    assert answers.invented_words(asked(" "), heard("thank you very much"), judge()) == pytest.approx(1 / 5)
    assert answers.invented_words(asked(""), heard("."), judge()) == 1.0
    assert answers.invented_words(asked("thank you"), heard("thank you"), judge()) is None


def test_a_loop_and_an_answer_cut_off_are_worth_nothing() -> None:
    assert answers.repetition(asked("a b c"), heard("a b c " + "very " * 8), judge()) == 0.0
    assert answers.repetition(asked("very " * 8), heard("very " * 8), judge()) == 1.0
    assert answers.truncation(asked("a"), heard("a", is_finished=False), judge()) == 0.0
    assert answers.truncation(asked("a"), heard("a"), judge()) == 1.0


def test_clean_is_without_hesitations_and_verbatim_with_those_that_were_said() -> None:
    row, two = asked("uh I um think er so"), heard("uh, I um think so")
    assert answers.style(row, two, judge()) == pytest.approx(1 / 3)
    assert answers.style(row, two, judge(style=Style.verbatim)) == pytest.approx(1 - 1 / 3)
    assert answers.style(asked("so"), heard("so"), judge(style=Style.verbatim)) == 1.0
    assert answers.style(asked("tak", language="Polish"), heard("tak"), judge()) is None
    assert answers.style(asked(""), heard(""), judge()) is None


def test_case_punctuation_and_numbers_are_held_to_the_reference() -> None:
    row = asked("He took 20 drops today.")  # cased, with a mark, digits
    assert answers.written_form(row, heard("He took 20 drops today."), judge()) == 1.0
    assert answers.written_form(row, heard("he took twenty drops today"), judge()) == 0.0
    assert answers.written_form(row, heard("he took 20 drops today."), judge()) == pytest.approx(2 / 3)
    assert answers.written_form(asked(""), heard("Words."), judge()) is None
