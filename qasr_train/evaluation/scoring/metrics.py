"""Owns the figures of a group of utterances, the list FIGURES: error rates and their intervals, speed, other ways to go wrong.

Input: the `UtteranceScore`s of one group (a set, a language ...). Output: `GroupScore`, the objects inside scores.json.
To add a figure: an entry in FIGURES; scores.json, the tables and the tracker take it from there.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from qasr_train.evaluation.mixed.counts import elsewhere_counts, mixed_counts, num_switches, switch_counts
from qasr_train.evaluation.scoring.rates import Ratio, counts_of, percent, primary_metric_of
from qasr_train.evaluation.scoring.significance import (
    Interval,
    ResampleBy,
    error_rate_interval,
    interval_text,
)
from qasr_train.evaluation.scoring.utterance import ANY, UtteranceScore, broken_outputs
from qasr_train.pages.table import number


@dataclass(frozen=True, slots=True)
class Resampling:
    """How intervals are made: how often they should hold the true figure (share), and what is taken to be independent."""

    confidence: float = 0.95
    resample_by: ResampleBy = ResampleBy.auto

    def options(self) -> dict[str, Any]:
        """As `error_rate_interval` and `paired_test` take them."""
        return {"confidence": self.confidence, "resample_by": self.resample_by}


class Group:
    """The rows of one group, and what several figures are made of, each worked out once.

    rows: all; scored: those that enter error rates; heard: those that did not fail, of which speech have words in the reference,
    nonspeech an empty one, and told state a language and were told one.
    """

    def __init__(self, rows: Sequence[UtteranceScore], resampling: Resampling) -> None:
        self.rows = rows
        self.resampling = resampling
        self.scored = [row for row in rows if row.is_scored]
        self.heard = [row for row in rows if row.is_heard]
        self.speech = [row for row in self.heard if row.counts.normalized_reference]
        with_text = [(row.counts, row.prediction.text) for row in self.heard]
        self.nonspeech = [counts for counts, text in with_text if text is not None and not text.strip()]
        heard = [row.prediction for row in self.heard]
        self.told = [one for one in heard if one.language and one.predicted_language]

    @cached_property
    def words(self) -> Ratio:
        """Of the scored rows."""
        return counts_of(self.scored, "wer")

    @cached_property
    def characters(self) -> Ratio:
        """Of the scored rows."""
        return counts_of(self.scored, "cer")

    @cached_property
    def primary_metric(self) -> str:
        """ "cer" where every language of the scored rows is one of CER_LANGUAGES, else "wer"."""
        return primary_metric_of({row.prediction.language for row in self.scored})

    @cached_property
    def broken(self) -> dict[str, float | None]:
        """Percent of the outputs, by the way in which they are broken, and in any."""
        return {way: _share(found) for way, found in broken_outputs(self.heard).items()}

    @cached_property
    def audio_s(self) -> float | None:
        """Seconds of audio; None unless known of every row that did not fail."""
        return _total([row.prediction.duration_s for row in self.heard])

    @cached_property
    def inference_s(self) -> float | None:
        """Seconds of inference; None unless known of every row that did not fail."""
        return _total([row.prediction.time_s for row in self.heard])

    def total(self, name: str) -> int:
        """Sum of one of the scored rows' counts."""
        return sum(getattr(row.counts, name) for row in self.scored)

    def interval(self, ratio: Ratio) -> Interval | None:
        """Interval of a rate over the scored rows."""
        speakers = [row.prediction.speaker for row in self.scored]
        return error_rate_interval(*ratio, speakers, **self.resampling.options())


@dataclass(frozen=True, slots=True)
class GroupScore:
    """Figures of one group of utterances, by name, in the order of FIGURES. normalizer: the rules they were made by."""

    normalizer: str
    figures: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        """The figure of that name."""
        return self.figures[name]

    @property
    def primary_metric(self) -> str:
        """ "cer" for Chinese, Cantonese, Japanese, Korean, Thai; "wer" otherwise."""
        return str(self["primary_metric"])

    @property
    def primary_percent(self) -> float | None:
        """The rate of that metric."""
        percent: float | None = self["primary_percent"]
        return percent

    @property
    def primary_interval(self) -> Interval | None:
        """Its interval."""
        interval: Interval | None = self["cer_interval" if self.primary_metric == "cer" else "interval"]
        return interval

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and None."""
        left_out = {figure.name for figure in FIGURES if figure.is_optional and self.figures[figure.name] is None}
        told = {name: _plain(value) for name, value in self.figures.items() if name not in left_out}
        return {"normalizer": self.normalizer, **told}


RESULTS, TROUBLE, MIXED = "results", "trouble", "mixed"  # the tables that figures stand in
TWO_SIDED = "two-sided interval"  # the head of every column of them


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a group.

    name: in scores.json and in the tracker. of_group: what it is there, anything JSON can hold or an `Interval`; rates in percent
    are None where there is nothing to divide by.
    table, place, title: the table whose column it is (None: none), the column's place among the others, and its head.
    text: its cell; None: rates to two places, anything else as it is.
    tracked: its place among what a tracker gets of each set and language; None: it gets none.
    is_optional: it is left out of scores.json where it is None.
    """

    name: str
    of_group: Callable[[Group], Any]
    table: str | None = None
    place: int = 0
    title: str = ""
    text: Callable[[GroupScore], str] | None = None
    tracked: int | None = None
    is_optional: bool = False

    def cell(self, group: GroupScore) -> str:
        """What stands in its column."""
        if self.text is not None:
            return self.text(group)
        value = group[self.name]
        return number(value) if value is None or isinstance(value, float) else str(value)


def score_group(rows: Sequence[UtteranceScore], normalizer: str, resampling: Resampling) -> GroupScore:
    """Figures of one group; rows with is_scored False are counted, and enter no error rate."""
    group = Group(rows, resampling)
    return GroupScore(normalizer, {figure.name: figure.of_group(group) for figure in FIGURES})


def columns(table: str) -> list[Figure]:
    """The figures of a table, from left to right."""
    return sorted((one for one in FIGURES if one.table == table), key=lambda one: one.place)


def tracked_figures() -> list[Figure]:
    """What a tracker gets of each set and language, in its order."""
    return sorted((one for one in FIGURES if one.tracked is not None), key=lambda one: one.tracked or 0)


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value) if isinstance(value, Interval) else value


def _total(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _rate(ratio: Ratio) -> float | None:
    errors, lengths = ratio
    return percent(errors.sum(), lengths.sum())


def _undefined_because(group: Group) -> str | None:
    if _rate(group.words) is not None:
        return None
    if not group.scored:
        return "no row counts"
    num_inserted = group.total("insertions")
    return "no reference words (the leaderboard's scorer says inf)" if num_inserted else "no reference words"


def _not_scored(group: Group) -> dict[str, int]:
    return dict(Counter(row.not_scored_because or "" for row in group.rows if not row.is_scored))


def _rtfx(group: Group) -> float | None:
    """Seconds of audio per second of inference."""
    if group.audio_s is None or not group.inference_s:
        return None
    return round(group.audio_s / group.inference_s, 4)


def _share(parts: Sequence[Any]) -> float | None:
    return percent(sum(map(bool, parts)), len(parts))


def _starred(metric: str) -> Callable[[GroupScore], str]:
    """The cell of an error rate: the one that is primary carries a star."""
    return lambda group: number(group[f"{metric}_percent"]) + (" *" if group.primary_metric == metric else "")


def _mer_interval(group: Group) -> Interval | None:
    rows = [row for row in group.scored if row.mixed]
    return Group(rows, group.resampling).interval(mixed_counts(rows)) if rows else None


# name, head of its column, what it is, its cell.
_MIXED_FIGURES: list[tuple[str, str, Callable[[Group], Any], Callable[[GroupScore], str] | None]] = [
    ("num_mixed_tokens", "tokens", lambda group: int(mixed_counts(group.scored)[1].sum()) or None, None),
    ("mer_percent", "MER %", lambda group: _rate(mixed_counts(group.scored)), None),
    ("mer_interval", TWO_SIDED, _mer_interval, lambda group: interval_text(group["mer_interval"])),
    ("num_switches", "switches", lambda group: num_switches(group.scored) or None, None),
    ("switch_error_percent", "errors at switches %", lambda group: _rate(switch_counts(group.scored)), None),
    ("other_error_percent", "errors elsewhere %", lambda group: _rate(elsewhere_counts(group.scored)), None),
]

# In the order of scores.json. Error rates are pooled errors / pooled reference length, rounded to two places as the leaderboard
# does; rows that are not scored enter none of them.
FIGURES = [
    Figure(
        "wer_percent",
        lambda group: _rate(group.words),
        table=RESULTS,
        place=3,
        title="WER %",
        text=_starred("wer"),
        tracked=1,
    ),
    Figure(
        "cer_percent",
        lambda group: _rate(group.characters),
        table=RESULTS,
        place=5,
        title="CER %",
        text=_starred("cer"),
        tracked=2,
    ),
    # Why wer_percent is None.
    Figure("undefined_because", _undefined_because),
    Figure("primary_metric", lambda group: group.primary_metric),
    Figure(
        "primary_percent",
        lambda group: _rate(group.characters if group.primary_metric == "cer" else group.words),
    ),
    Figure(
        "substitutions",
        lambda group: group.total("substitutions"),
        table=RESULTS,
        place=6,
        title="sub",
    ),
    Figure("deletions", lambda group: group.total("deletions"), table=RESULTS, place=7, title="del"),
    Figure("insertions", lambda group: group.total("insertions"), table=RESULTS, place=8, title="ins"),
    Figure("num_reference_words", lambda group: int(group.words[1].sum()), table=RESULTS, place=2, title="words"),
    Figure("num_character_errors", lambda group: int(group.characters[0].sum())),
    Figure("num_reference_characters", lambda group: int(group.characters[1].sum())),
    Figure("num_utterances", lambda group: len(group.scored), table=RESULTS, place=1, title="utterances", tracked=8),
    Figure(
        "num_not_scored",
        lambda group: len(group.rows) - len(group.scored),
        table=RESULTS,
        place=9,
        title="left out",
        text=lambda group: str(group["num_not_scored"] or ""),
    ),
    # How many for which reason.
    Figure("not_scored", _not_scored),
    # The column shows the interval of the primary metric.
    Figure(
        "interval",
        lambda group: group.interval(group.words),
        table=RESULTS,
        place=4,
        title=TWO_SIDED,
        text=lambda group: interval_text(group.primary_interval),
    ),
    Figure("cer_interval", lambda group: group.interval(group.characters)),
    Figure("audio_s", lambda group: group.audio_s),
    Figure("inference_s", lambda group: group.inference_s),
    Figure(
        "rtfx",
        _rtfx,
        table=RESULTS,
        place=10,
        title="RTFx",
        text=lambda group: number(group["rtfx"], 1),
        tracked=3,
    ),
    Figure("num_with_predicted_language", lambda group: len(group.told)),
    # Of those, how many were heard in their own language.
    Figure(
        "language_accuracy_percent",
        lambda group: _share([one.language == one.predicted_language for one in group.told]),
        table=TROUBLE,
        place=8,
        title="language right %",
        tracked=4,
    ),
    # Of rows with speech, for how many nothing was written.
    Figure(
        "empty_output_percent",
        lambda group: _share([row.is_empty for row in group.speech]),
        table=TROUBLE,
        place=1,
        title="empty output %",
        tracked=5,
    ),
    # How many hypotheses repeat themselves as the reference does not.
    Figure(
        "loop_percent",
        lambda group: group.broken["looping"],
        table=TROUBLE,
        place=3,
        title="loops %",
        tracked=6,
    ),
    Figure(
        "garbled_percent",
        lambda group: group.broken["garbled"],
        table=TROUBLE,
        place=2,
        title="garbled %",
    ),
    Figure(
        "cut_off_percent",
        lambda group: group.broken["cut off"],
        table=TROUBLE,
        place=4,
        title="cut off %",
    ),
    Figure(
        "other_language_percent",
        lambda group: group.broken["in another language"],
        table=TROUBLE,
        place=5,
        title="other language %",
    ),
    # Any of the five.
    Figure(
        "broken_percent",
        lambda group: group.broken[ANY],
        table=TROUBLE,
        place=6,
        title="any of these %",
        tracked=11,
    ),
    # Of those cut off, the ones that met the limit of new tokens.
    Figure("num_truncated", lambda group: sum(bool(row.prediction.is_truncated) for row in group.rows), tracked=10),
    Figure(
        "num_failed",
        lambda group: len(group.rows) - len(group.heard),
        table=TROUBLE,
        place=7,
        title="failed",
        tracked=9,
    ),
    Figure("num_nonspeech", lambda group: len(group.nonspeech), table=TROUBLE, place=9, title="non-speech clips"),
    # Of those, for how many something was written, and how many words.
    Figure(
        "hallucination_percent",
        lambda group: _share([counts.normalized_hypothesis for counts in group.nonspeech]),
        table=TROUBLE,
        place=10,
        title="with words %",
        tracked=7,
    ),
    Figure(
        "num_nonspeech_words",
        lambda group: sum(counts.insertions for counts in group.nonspeech),
        table=TROUBLE,
        place=11,
        title="words there",
    ),
    # Of sets in which languages meet, where they were asked for (`mixed=true`).
    *(
        Figure(name, of_group, MIXED, place, title, text, is_optional=True)
        for place, (name, title, of_group, text) in enumerate(_MIXED_FIGURES)
    ),
]
