"""Owns the rewards made of anything but errors: terms, language, inventions, repetition, truncation, how it is written.

Input: what was asked, a hypothesis, the `Judge` of the run. Output: a reward in 0 to 1, or None where the clip cannot say.
"""

from qasr_train.rewards.base import Asked, Hypothesis
from qasr_train.rewards.judge import Judge
from qasr_train.rewards.settings import Style
from qasr_train.text.style import num_fillers, text_style
from qasr_train.text.tokens import tokens


def term_recall(asked: Asked, hypothesis: Hypothesis, judge: Judge) -> float | None:
    """Share of the spoken terms that were written. None where none is spoken."""
    terms = judge.terms(asked, hypothesis)
    return terms.num_found / terms.num_spoken if terms and terms.num_spoken else None


def term_precision(asked: Asked, hypothesis: Hypothesis, judge: Judge) -> float | None:
    """Share of the written terms that were spoken; 1 where none is written: nothing false is. None where there are no terms.

    Alone it is won by writing no terms at all: weigh it beside term_recall or an error reward.
    """
    terms = judge.terms(asked, hypothesis)
    if terms is None:
        return None
    return terms.num_found / terms.num_written if terms.num_written else 1.0


def language(asked: Asked, hypothesis: Hypothesis, judge: Judge) -> float | None:
    """1 where the answer tells the language of the reference, 0 where another or none. None where that is not known."""
    return None if asked.language is None else float(hypothesis.language == asked.language)


def invented_words(asked: Asked, hypothesis: Hypothesis, judge: Judge) -> float | None:
    """Of a clip without speech 1 / (1 + n), n the words that were written. None of a clip with speech."""
    if asked.reference.strip():
        return None
    return 1.0 / (1 + len(tokens(judge.normalized(hypothesis.text, asked.language), asked.language)))


def repetition(asked: Asked, hypothesis: Hypothesis, judge: Judge) -> float | None:
    """0 where the answer repeats itself (a loop, as reports count them) and the reference does not, else 1."""
    return float(not judge.compared(asked, hypothesis).has_loop)


def truncation(asked: Asked, hypothesis: Hypothesis, judge: Judge) -> float | None:
    """0 where the answer met the bound of its length, 1 where it ended by itself."""
    return float(hypothesis.is_finished)


def style(asked: Asked, hypothesis: Hypothesis, judge: Judge) -> float | None:
    """Of hesitations (uh, um): clean 1 / (1 + n); verbatim 1 - |n - m| / max(n, m), m of the reference, 1 where both are 0.

    None where the language's hesitations are not known, or there is no speech. Counted in the texts as they stand: normalisers
    drop them, so that no error rate sees them.
    """
    if not asked.reference.strip():
        return None
    expected = num_fillers(asked.reference, asked.language)
    written = num_fillers(hypothesis.text, asked.language)
    if expected is None or written is None:
        return None
    if judge.style is Style.clean:
        return 1.0 / (1 + written)
    return 1.0 - abs(written - expected) / max(written, expected, 1)


def written_form(asked: Asked, hypothesis: Hypothesis, judge: Judge) -> float | None:
    """Share of letter case, punctuation and numbers that are written the reference's way, of those that it shows.

    None where it shows none. Without it nothing holds a model to them: normalisers drop case and punctuation.
    """
    expected, written = (text_style(text, asked.language) for text in (asked.reference, hypothesis.text))
    traits = [
        (ours, theirs)
        for ours, theirs in (
            (expected.casing, written.casing),
            (expected.punctuation, written.punctuation),
            (expected.numbers, written.numbers),
        )
        if ours is not None
    ]
    return sum(ours == theirs for ours, theirs in traits) / len(traits) if traits else None
