"""Owns the verdict on a learning curve: would more recordings help, longer training, another model, or mended data.

Input: `Evidence`, plain numbers of a finished curve. Output: one of five answers with its reason and what to do. The rule is
NVIDIA NeMo's (examples/speechlm2/finetuning, "Diagnose before you choose a lever"): read the error rate on what was taught
beside that on the tests, before anything is bought. What the numbers do not show is said to be unknown.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from qasr_train.evaluation.comparing.paired import PairedTest
from qasr_train.evaluation.scoring.significance import Interval

FAR_PERCENT = 75.0  # a clip with more of its text wrong was heard as something else
_FLAT_SHARE = 0.1  # a gain that is surely less than this share of the error rate is none
_LEARNED_SHARE = 0.5  # what was taught is known where its rate is at most this share of the tests'
_MIN_GROWTH = 1.5  # amounts nearer to each other than this say nothing on a curve
_FAULT_P = 0.01  # that training clips are far off more often than tests; below the usual level, as corpora differ
_MIN_FAR = 3
_MIN_LINES, _FALL_SHARE, _FALL_T = (
    8,
    0.05,
    3.0,
)  # of a training's log: lines, fall of the loss between its last two quarters


class Answer(str, Enum):
    """What a learning curve can say."""

    more_data = "more data"
    longer = "train longer"
    limit = "the model is at its limit"
    faulty = "the data are faulty"
    unknown = "cannot tell"


@dataclass(frozen=True, slots=True)
class Rate:
    """An error rate in percent with its interval; None where it has none."""

    percent: float
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Share:
    """How many of how many clips."""

    number: int
    of: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known at the largest amount.

    few, many: clips of the last two amounts; few is 0 for the model before training. growth: many against few on the tests;
    None of one amount. test: rate on the tests. taught: rate on clips that were trained on; None: not measured. far_test,
    far_taught: clips over FAR_PERCENT. longer: a longer training against the usual, on the tests; None: not made.
    is_falling: whether the loss still fell when training ended; None: too few lines of the log.
    """

    few: int
    many: int
    growth: PairedTest | None
    test: Rate
    taught: Rate | None
    far_test: Share
    far_taught: Share
    longer: PairedTest | None = None
    is_falling: bool | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer, the numbers it rests on, and what to do."""

    answer: Answer
    because: str
    advice: str

    def sentence(self) -> str:
        """For terminal and page."""
        return f"verdict: {self.answer.value}: {self.because}; {self.advice}"


def judge_curve(evidence: Evidence) -> Verdict:
    """The first of these that the numbers show: nothing to gain, faulty data, then by what was taught, learned or not."""
    if evidence.test.percent == 0:
        return _unknown("the tests hold no error any more", "test on harder recordings")
    if fault := _fault(evidence):
        return fault
    if evidence.growth is None or not evidence.few or evidence.taught is None:
        if evidence.growth is None or not evidence.few:
            return _unknown("only one amount was trained on", "give other amounts")
        return _unknown("no clip that was taught was transcribed", "set num_taught_clips above 0")
    if _is_learned(evidence.taught, evidence.test):
        return _of_learned(evidence, evidence.growth)
    return _of_unlearned(evidence, evidence.growth)


def is_still_falling(losses: Sequence[float]) -> bool | None:
    """Whether the loss of a training fell between its third and its last quarter, by more than noise and a twentieth.

    A schedule that ends at a learning rate of 0 flattens every loss, so False does not say that longer training is useless.

    Args:
        losses: of its log in order, nats a token. Returns None for fewer than eight.
    """
    finite = [loss for loss in losses if math.isfinite(loss)]
    if len(finite) < _MIN_LINES:
        return None
    quarter = len(finite) // 4
    before, after = finite[-2 * quarter : -quarter], finite[-quarter:]
    means = [sum(part) / quarter for part in (before, after)]
    spread = [
        sum((loss - mean) ** 2 for loss in part) / (quarter - 1) / quarter
        for part, mean in zip((before, after), means, strict=True)
    ]
    fall = means[0] - means[1]
    return fall > _FALL_SHARE * means[0] and fall > _FALL_T * math.sqrt(sum(spread))


def share_p_value(ours: Share, theirs: Share) -> float:
    """How likely by chance `ours` has so many or more, if both draw from one pot (Fisher's exact test, one-sided)."""
    total, found = ours.of + theirs.of, ours.number + theirs.number
    most = min(found, ours.of)
    ways = sum(
        math.comb(ours.of, number) * math.comb(theirs.of, found - number)
        for number in range(ours.number, most + 1)
        if found - number <= theirs.of
    )
    return ways / math.comb(total, found)


def _fault(evidence: Evidence) -> Verdict | None:
    growth, taught, test = evidence.growth, evidence.taught, evidence.test
    if growth is not None and evidence.few and _is_sure(growth) and growth.delta_percent > 0:
        return Verdict(
            Answer.faulty,
            f"with {evidence.many} clips the tests are heard worse than with {evidence.few} ({_change(growth)})",
            "look at the added clips: recipes/check_transcripts.py with the base model, audit.html of recipes/prepare.py",
        )
    far, far_test = evidence.far_taught, evidence.far_test
    if far.number >= _MIN_FAR and far.of and far_test.of and share_p_value(far, far_test) < _FAULT_P:
        return Verdict(
            Answer.faulty,
            f"{far.number} of {far.of} clips that were taught are heard as something else (over {FAR_PERCENT:g} % wrong), of "
            f"the tests {far_test.number} of {far_test.of}",
            "listen to them (taught_N/report.html, worst first): wrong transcripts, or recordings harder than the tests",
        )
    if taught is not None and _low(taught) > _high(test):
        return Verdict(
            Answer.faulty,
            f"what was taught is heard worse ({taught.percent:.2f} %) than the tests ({test.percent:.2f} %)",
            "look for wrong transcripts (recipes/check_transcripts.py), or recordings harder than the tests",
        )
    return None


def _of_learned(evidence: Evidence, growth: PairedTest) -> Verdict:
    """What was taught is known, the tests are not: only other recordings can close the gap."""
    taught, test = evidence.taught, evidence.test
    assert taught is not None
    gap = f"what was taught is known ({taught.percent:.2f} % wrong), the tests are not ({test.percent:.2f} %)"
    if _is_sure(growth):
        return Verdict(
            Answer.more_data,
            f"{gap}, and the curve still falls ({_change(growth)})",
            "more recordings, of more speakers; steps on the same ones teach no more",
        )
    if _is_flat(evidence, growth):
        return Verdict(
            Answer.faulty,
            f"{gap}, and {evidence.many} clips help no more than {evidence.few} ({_change(growth)}): what is learned there does "
            "not carry over",
            "compare the recordings and the spelling of their transcripts with the tests': they are of another kind",
        )
    return _unknown(f"{gap}, but whether the curve still falls is not shown ({_change(growth)})", _more_tests(growth))


def _of_unlearned(evidence: Evidence, growth: PairedTest) -> Verdict:
    """What was taught is heard about as the tests are: more of the same closes no gap unless the curve says so."""
    taught, test, longer = evidence.taught, evidence.test, evidence.longer
    assert taught is not None
    alike = f"what was taught is heard about as the tests are ({taught.percent:.2f} and {test.percent:.2f} % wrong)"
    if longer is not None and _is_sure(longer) and longer.delta_percent < 0:
        return Verdict(
            Answer.longer,
            f"{alike}, and longer training helps ({_change(longer)})",
            "raise trainer.num_epochs or max_steps",
        )
    if longer is None and evidence.is_falling:
        return Verdict(
            Answer.longer,
            f"{alike}, and the loss still fell when training ended",
            "raise trainer.num_epochs or max_steps",
        )
    if _is_sure(growth):
        return Verdict(
            Answer.more_data, f"{alike}, and the curve still falls ({_change(growth)})", "more recordings of this kind"
        )
    if not _is_flat(evidence, growth):
        return _unknown(
            f"{alike}, but whether the curve still falls is not shown ({_change(growth)})", _more_tests(growth)
        )
    level = f"{alike}, and {evidence.many} clips help no more than {evidence.few} ({_change(growth)})"
    if longer is None:
        return _unknown(
            level, "longer=2 with resume=true trains the largest amount twice as long, and tells longer from limit"
        )
    if _gain(longer) < _FLAT_SHARE * test.percent:
        return Verdict(
            Answer.limit,
            f"{level}, nor does longer training ({_change(longer)})",
            "train more weights (adapt=full, a larger adapt.lora.rank) or a larger model",
        )
    return _unknown(f"{level}; whether longer training helps is not shown ({_change(longer)})", _more_tests(longer))


def _is_learned(taught: Rate, test: Rate) -> bool:
    return taught.percent <= _LEARNED_SHARE * test.percent and _high(taught) < _low(test)


def _is_flat(evidence: Evidence, growth: PairedTest) -> bool:
    """Whether a gain worth the name is ruled out between amounts that are far enough apart."""
    is_apart = evidence.few > 0 and evidence.many >= _MIN_GROWTH * evidence.few
    return is_apart and _gain(growth) < _FLAT_SHARE * evidence.test.percent


def _is_sure(test: PairedTest) -> bool:
    return test.p_value < 1 - test.interval.confidence


def _gain(test: PairedTest) -> float:
    """The most that may have been gained, in points."""
    return -test.interval.low_percent


def _low(rate: Rate) -> float:
    return rate.interval.low_percent if rate.interval else rate.percent


def _high(rate: Rate) -> float:
    return rate.interval.high_percent if rate.interval else rate.percent


def _change(test: PairedTest) -> str:
    low, high = test.interval.low_percent, test.interval.high_percent
    return f"{test.delta_percent:+.2f} points, {100 * test.interval.confidence:g} % interval {low:.2f} to {high:.2f}"


def _more_tests(test: PairedTest) -> str:
    if test.num_more_units:
        return f"some {test.num_more_units} more test {test.interval.unit}s would show it"
    return f"test on more {test.interval.unit}s, or give amounts further apart"


def _unknown(because: str, advice: str) -> Verdict:
    return Verdict(Answer.unknown, because, advice)
