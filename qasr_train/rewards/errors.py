"""Owns the rewards made of recognition errors: plain, gated, and the number that MWER is about.

Input: what was asked, a hypothesis, the `Judge` of the run. Output: a reward. Errors are of words, or of characters where the
language is scored so, as the suites choose.
"""

from qasr_train.rewards.base import Asked, Hypothesis
from qasr_train.rewards.judge import Judge

_PLAIN_SHARE = 0.4  # Mega-ASR's shares of its static and its dynamic reward, 0.4 and 0.6


def word_errors(asked: Asked, hypothesis: Hypothesis, judge: Judge) -> float | None:
    """1 - error rate; below 0 where there are more errors than words. None of a clip without speech, which has no rate.

    Groups whose answers all have the same number of errors teach nothing by it, and one long loop, far below 0, hides the
    differences between the others.
    """
    rate = judge.compared(asked, hypothesis).error_rate
    return None if rate is None else 1.0 - rate


def error_count(asked: Asked, hypothesis: Hypothesis, judge: Judge) -> float | None:
    """Minus the errors themselves, the risk of MWER (Prabhavalkar et al. 2017): a long clip weighs more, as in a WER.

    Of a clip without speech too, where every word is an error; None only where the normaliser leaves a reference with words out.
    """
    compared = judge.compared(asked, hypothesis)
    return -float(compared.num_errors) if compared.is_kept or not asked.reference.strip() else None


def gated_errors(asked: Asked, hypothesis: Hypothesis, judge: Judge) -> float | None:
    """0.4 max(0, 1 - e) + 0.6 d, in 0 to 1, e the error rate; 0 of an answer that repeats itself. None of a clip without speech.

        e <= gate:  d = 1 - min(c, gate)        c: character error rate. Near misses rank above other words
        e >  gate:  d = (1 - gate) kept / n     kept: tokens of the longest common subsequence; n: the longer text's

    Never higher for an answer beyond the gate than for one within it at the same or fewer errors. After Mega-ASR (arXiv
    2605.19833): with 1 - WER their DAPO hardly moved, with a reward gated at 30 % it did: fine where the words are nearly right,
    coarse where the sentence is lost, nothing for repetition, 0.4 of it plain. Their code is not public: d is ours.
    """
    compared = judge.compared(asked, hypothesis)
    rate, gate = compared.error_rate, judge.gate_error_rate
    if rate is None:
        return None
    if compared.has_loop:
        return 0.0
    if rate <= gate:
        dynamic = 1.0 - min(compared.character_error_rate, gate)
    else:
        dynamic = (1.0 - gate) * compared.num_kept / max(compared.num_expected, compared.num_written)
    return _PLAIN_SHARE * max(0.0, 1.0 - rate) + (1.0 - _PLAIN_SHARE) * dynamic
