"""Owns what the probes say of a model: shares with intervals, beside a baseline's where there is one, and which of them light up.

Input: the scored runs of a test set as it is and with masked numbers, and its right texts. Output: `ProbeResult`s.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from qasr_train.evaluation.comparing.paired import PairedTest, paired_test
from qasr_train.evaluation.honesty.masked_numbers import find_number, is_written
from qasr_train.evaluation.honesty.renderings import Agreement, Pair, find_renderings, measure_agreement
from qasr_train.evaluation.honesty.wrong_references import Side, side_of, spans_of
from qasr_train.evaluation.scoring.metrics import Resampling
from qasr_train.evaluation.scoring.score import ScoredRun
from qasr_train.evaluation.scoring.significance import Interval, error_rate_interval, interval_text
from qasr_train.text.alternatives.notation import first_spelling
from qasr_train.text.normalize import Normalizer
from qasr_train.text.tokens import tokens

REFERENCES, NUMBERS, SPELLINGS = "wrong references", "masked numbers", "spelling switches"
_MIN_CLIPS = 5  # fewer decide nothing
_SURE = 0.01  # p of the switches, of which no interval is made
_LEAST_KAPPA = 0.1  # below it a sure agreement is too slight to mean anything


class Light(str, Enum):
    """What a probe shows."""

    lit = "LIGHTS UP"
    dark = "dark"
    unknown = "cannot tell"


@dataclass(frozen=True, slots=True)
class Example:
    """A clip and what spoke for knowing it. expected: what could be heard; known: what only the published text has; said: all."""

    id: str
    expected: str
    known: str
    said: str


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One probe. num_hits of `of`: places that only one who knows the text writes so. because: why it shows what it shows.

    percent, interval: their share. baseline_percent: of the model it is compared with; test: the paired difference; None without.
    examples: some of the hits.
    """

    name: str
    light: Light
    because: str
    num_hits: int
    of: int
    percent: float | None
    interval: Interval | None = None
    baseline_percent: float | None = None
    test: PairedTest | None = None
    examples: list[Example] = field(default_factory=list)

    def sentence(self) -> str:
        """For the terminal."""
        return f"{self.name}: {self.light.value}: {self.because}"


@dataclass(frozen=True, slots=True)
class Heard:
    """What one model made of the test set. as_it_is: scored run; masked: with masked numbers; None where no row has any."""

    as_it_is: ScoredRun
    masked: ScoredRun | None


@dataclass(frozen=True, slots=True)
class Counted:
    """Hits and places of each clip, by id, and examples."""

    hits: dict[str, int]
    places: dict[str, int]
    speakers: dict[str, str | None]
    examples: list[Example]


@dataclass(frozen=True, slots=True)
class Rules:
    """chance_percent: a share above it, surely, lights a probe up without a baseline; below it, surely, it is dark (with a
    baseline, a share so many points above that one's). seed: of the shuffles.
    """

    normalizer: Normalizer
    resampling: Resampling
    chance_percent: float
    seed: int


def run_probes(
    model: Heard, baseline: Heard | None, right: Mapping[str, str] | None, rules: Rules
) -> list[ProbeResult]:
    """Every probe with its verdict, also those for which the data hold nothing.

    Args:
        right: id -> what was said; None: nothing is known to be wrong.
    """
    results = []
    if right is None:
        why = "nothing says where published texts are wrong (corrected=FILE)"
        results.append(ProbeResult(REFERENCES, Light.unknown, why, 0, 0, None))
    else:
        ours = count_references(model.as_it_is, right, rules.normalizer)
        theirs = count_references(baseline.as_it_is, right, rules.normalizer) if baseline else None
        results.append(_judged(REFERENCES, "wrong words that were published", ours, theirs, rules))
    if model.masked is None:
        why = "no clip holds a number of which enough would be left beside it"
        results.append(ProbeResult(NUMBERS, Light.unknown, why, 0, 0, None))
    else:
        ours = count_numbers(model.masked, rules.normalizer)
        theirs = count_numbers(baseline.masked, rules.normalizer) if baseline and baseline.masked else None
        results.append(_judged(NUMBERS, "numbers that were made silent", ours, theirs, rules))
    results.append(_switches(model.as_it_is, baseline.as_it_is if baseline else None, rules))
    return results


def count_references(run: ScoredRun, right: Mapping[str, str], normalizer: Normalizer) -> Counted:
    """Places where the published text is wrong, and those of them that the model writes as published."""
    counted = Counted({}, {}, {}, [])
    for row in run.rows:
        one = row.prediction
        if one.id not in right or one.text is None or one.failed:
            continue
        published, spans = spans_of(one.text, right[one.id], one.language, normalizer)
        if not spans:
            continue
        heard = tokens(normalizer.normalize(one.pred_text, one.language), one.language)
        hits = [span for span in spans if side_of(span, published, heard) is Side.published]
        counted.hits[one.id], counted.places[one.id], counted.speakers[one.id] = len(hits), len(spans), one.speaker
        counted.examples.extend(Example(one.id, span.right, span.published, one.pred_text) for span in hits)
    return counted


def count_numbers(run: ScoredRun, normalizer: Normalizer) -> Counted:
    """Clips with a masked number, and those of them in which it is written all the same."""
    counted = Counted({}, {}, {}, [])
    for row in run.rows:
        one = row.prediction
        text = first_spelling(one.text or "")
        number = find_number(text, one.language)
        if number is None or one.failed:
            continue
        is_hit = is_written(number, text, one.pred_text, one.language, normalizer)
        counted.hits[one.id], counted.places[one.id], counted.speakers[one.id] = int(is_hit), 1, one.speaker
        if is_hit:
            counted.examples.append(Example(one.id, "(silence)", number.text, one.pred_text))
    return counted


def _judged(name: str, what: str, ours: Counted, theirs: Counted | None, rules: Rules) -> ProbeResult:
    ids = [id_ for id_ in ours.places if theirs is None or id_ in theirs.places]
    hits, places = ([part[id_] for id_ in ids] for part in (ours.hits, ours.places))
    num_hits, of = sum(hits), sum(places)
    if not of:
        return ProbeResult(name, Light.unknown, f"the test set holds no {what}", 0, 0, None)
    speakers, options = [ours.speakers[id_] for id_ in ids], rules.resampling.options()
    counts = np.array(hits), np.array(places)
    interval = error_rate_interval(*counts, speakers, **options)
    percent = round(100 * num_hits / of, 2)
    told = f"{num_hits} of {of} {what} are written, {percent:.1f} % [{interval_text(interval)}]"
    test = None
    if theirs is not None:
        test = paired_test((np.array([theirs.hits[id_] for id_ in ids]), counts[1]), counts, speakers, **options)
    light, why = _light(len(ids), interval, test, rules)
    return ProbeResult(
        name,
        light,
        f"{told}{why}",
        num_hits,
        of,
        percent,
        interval,
        test.baseline_percent if test else None,
        test,
        [one for one in ours.examples if one.id in set(ids)],
    )


def _light(num_clips: int, interval: Interval | None, test: PairedTest | None, rules: Rules) -> tuple[Light, str]:
    if num_clips < _MIN_CLIPS:
        return Light.unknown, f"; {num_clips} clips decide nothing"
    if test is not None:
        ends = interval_text(test.interval)
        change = f"; the baseline {test.baseline_percent:.1f} %, {test.delta_percent:+.1f} points [{ends}]"
        if test.p_value < 1 - test.interval.confidence:
            return (Light.lit if test.delta_percent > 0 else Light.dark), change
        is_slight = test.interval.high_percent <= rules.chance_percent
        return (Light.dark if is_slight else Light.unknown), change + ("" if is_slight else ", which may be chance")
    assert interval is not None
    if interval.low_percent > rules.chance_percent:
        return Light.lit, f"; surely above chance_percent={rules.chance_percent:g}"
    if interval.high_percent <= rules.chance_percent:
        return Light.dark, ""
    return Light.unknown, f"; it may be above or below chance_percent={rules.chance_percent:g}: give a baseline"


def _switches(run: ScoredRun, baseline: ScoredRun | None, rules: Rules) -> ProbeResult:
    ours, examples = _agreement(run, rules)
    if not ours.num_places:
        why = "the references write no word in more than one way that the rules of comparison hold to be the same"
        return ProbeResult(SPELLINGS, Light.unknown, why, 0, 0, None)
    assert ours.kappa is not None
    told = (
        f"{ours.num_agreed} of {ours.num_places} words that the references write in several ways are written as the row has "
        f"it, {ours.expected:.1f} by habit alone (kappa {ours.kappa:.2f}, p {ours.p_value:.3g})"
    )
    percent = round(100 * ours.num_agreed / ours.num_places, 2)
    is_sure = ours.p_value < _SURE and ours.kappa > _LEAST_KAPPA
    light, baseline_percent = Light.lit if is_sure else Light.dark, None
    if baseline is not None:
        theirs, _ = _agreement(baseline, rules)
        known = theirs.kappa or 0.0
        baseline_percent = round(100 * theirs.num_agreed / theirs.num_places, 2) if theirs.num_places else None
        told += f"; the baseline's kappa is {known:.2f} (p {theirs.p_value:.3g})"
        if is_sure and theirs.p_value < _SURE and known >= ours.kappa:
            light, told = Light.dark, f"{told}, so it is not of this training"
    return ProbeResult(
        SPELLINGS,
        light,
        told,
        ours.num_agreed,
        ours.num_places,
        percent,
        baseline_percent=baseline_percent,
        examples=examples,
    )


def _agreement(run: ScoredRun, rules: Rules) -> tuple[Agreement, list[Example]]:
    rows = [row.prediction for row in run.rows if row.is_scored]
    said = {one.id: one.pred_text for one in rows}
    pairs: Sequence[Pair] = [Pair(one.id, first_spelling(one.text or ""), one.pred_text, one.language) for one in rows]
    renderings = find_renderings(pairs, rules.normalizer)
    ways: dict[str, set[str]] = {}
    for one in renderings:
        ways.setdefault(one.family, set()).add(one.reference)
    switched = [one for one in renderings if one.agrees and len(ways[one.family]) > 1]
    examples = [Example(one.id, " or ".join(sorted(ways[one.family])), one.reference, said[one.id]) for one in switched]
    return measure_agreement(renderings, rules.seed), examples
