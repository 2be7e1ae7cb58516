"""Owns what a report says of words to check: the sentence, its tables, the picture of reliability, which words are shaded.

Input: `WordScores`. Output: sentences, `Illustrated` tables, `Shade`s; nothing where the predictions tell no probabilities.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from qasr_train.evaluation.scoring.metrics import Resampling
from qasr_train.evaluation.scoring.significance import Interval, interval_text
from qasr_train.evaluation.scoring.utterance import UtteranceScore
from qasr_train.evaluation.words.figures import Bin, Reading, WordFigures
from qasr_train.evaluation.words.scores import WordMeasure, WordScores, score_words
from qasr_train.pages.svg import svg_drawing
from qasr_train.pages.table import ABSENT, Table, number
from qasr_train.text.normalize import Normalizer

HEADLINE_PERCENT = 5.0  # of the sentence, where it is among those asked for
MAX_SHADE_PERCENT, MAX_SHADES = 10.0, 3  # more shaded words would be no warning
_TWO_SIDED = "two-sided interval"


@dataclass(frozen=True, slots=True)
class Illustrated:
    """A table with its picture, an `<svg>` element or "". plot_label: what it shows."""

    table: Table
    plot: str
    plot_label: str


@dataclass(frozen=True, slots=True)
class Shade:
    """The least sure words: so many percent, whose confidence is up to `below`."""

    percent: float
    below: float


def reading_sentences(words: WordScores | None) -> list[str]:
    """What reading the least sure words finds, in a sentence; [] where nobody knows."""
    if words is None or not words.overall.readings:
        return []
    figures, reading = words.overall, _headline(words.overall)
    if not figures.num_wrong:
        return [f"Words to check: none of the {figures.num_words:,} words whose confidence is known is wrong."]
    said = (
        f"Reading the {reading.percent:g} % least sure words ({reading.num_read:,} of {figures.num_words:,}, confidence up to "
        f"{reading.below:.3f}) finds {number(reading.found_percent, 1)} % of the wrong words{_within(reading.found_interval)}, "
        f"and {number(reading.of_all_percent, 1)} % of all errors{_within(reading.of_all_interval)}"
    )
    if figures.num_deleted:
        said += f": {figures.num_deleted:,} were deletions, which leave no word to read"
    without = ", ".join(words.measure.dev_sets)
    left_out = f" Without {without}, on which confidences were calibrated." if without else ""
    return [f"{said}.{_terms_sentence(words, reading)}{left_out}"]


def word_illustrations(words: WordScores | None) -> list[Illustrated]:
    """What reading finds, how far confidences can be trusted, and by set; [] where nobody knows."""
    if words is None or not words.overall.readings:
        return []
    found = [Illustrated(_reading_table(words), "", "")]
    found.append(Illustrated(_bin_table(words), reliability_plot(words.overall.bins), "reliability of confidences"))
    return [*found, Illustrated(_set_table(words), "", "")]


def words_as_told(rows: Sequence[UtteranceScore], normalizer: Normalizer) -> WordScores | None:
    """The words of rows that have no scored run of their own, uncalibrated: which are the least sure, shading needs no more."""
    return score_words(rows, normalizer, WordMeasure(), Resampling())


def shades_of(words: WordScores | None) -> list[Shade]:
    """Which words are shaded, the least sure first; at most three shares of up to 10 %."""
    if words is None:
        return []
    kept = [Shade(one.percent, one.below) for one in words.overall.readings if one.percent <= MAX_SHADE_PERCENT]
    return kept[-MAX_SHADES:]


def reliability_plot(bins: list[Bin]) -> str:
    """Share of right words over their mean confidence, with intervals; on the dashed line both are alike. "" of no word."""
    drawn = [one for one in bins if one.mean_confidence is not None and one.right_percent is not None]
    if not drawn:
        return ""
    with svg_drawing(5.2, 4.2) as drawing:
        axes = drawing.axes
        axes.plot([0, 1], [0, 100], "--", color="#8a8f98", linewidth=1)
        xs = [one.mean_confidence or 0.0 for one in drawn]
        ys = [one.right_percent or 0.0 for one in drawn]
        ends = [
            (one.right_interval.low_percent, one.right_interval.high_percent) if one.right_interval else (y, y)
            for one, y in zip(drawn, ys, strict=True)
        ]
        below = [max(0.0, y - low) for y, (low, _) in zip(ys, ends, strict=True)]
        above = [max(0.0, high - y) for y, (_, high) in zip(ys, ends, strict=True)]
        axes.errorbar(xs, ys, yerr=[below, above], fmt="o", color="#2b6cb0", ecolor="#222", elinewidth=1, capsize=3)
        for x, y, one in zip(xs, ys, drawn, strict=True):
            below_point = (5, -11 if y > 10 else 5)  # not across the axis
            axes.annotate(f"{one.num_words:,}", (x, y), xytext=below_point, textcoords="offset points", fontsize=8)
        axes.set_xlim(-0.02, 1.05)
        axes.set_ylim(-3, 105)
        axes.set_xlabel("mean confidence of the words")
        axes.set_ylabel("right words, percent")
    return drawing.text


def _headline(figures: WordFigures) -> Reading:
    return min(figures.readings, key=lambda one: abs(one.percent - HEADLINE_PERCENT))


def _within(interval: Interval | None) -> str:
    if interval is None:
        return ""
    unit = f"{interval.num_units} {interval.unit}{'' if interval.num_units == 1 else 's'}"
    return f" [{interval_text(interval)}; {unit}]"


def _terms_sentence(words: WordScores, reading: Reading) -> str:
    figures = words.overall
    if not words.has_terms:
        return ""
    if not figures.num_wrong_on_terms:
        return f" On terms no word is wrong, {figures.num_deleted_terms} are missing."
    return (
        f" On terms it finds {reading.num_found_on_terms} of {figures.num_wrong_on_terms} wrong words, "
        f"{number(reading.on_terms_percent, 1)} %{_within(reading.on_terms_interval)}; {figures.num_deleted_terms} more are "
        "missing."
    )


def _reading_table(words: WordScores) -> Table:
    rows = []
    for one in words.overall.readings:
        cells = [f"{one.percent:g} %", f"{one.num_read:,}", f"{one.below:.3f}", f"{one.num_found:,}"]
        cells += [number(one.found_percent), interval_text(one.found_interval)]
        cells += [number(one.of_all_percent), interval_text(one.of_all_interval)]
        if words.has_terms:
            cells += [str(one.num_found_on_terms), number(one.on_terms_percent), interval_text(one.on_terms_interval)]
        rows.append(cells)
    headers = ["least sure", "words", "confidence up to", "wrong ones found"]
    headers += ["% of wrong words", _TWO_SIDED, "% of all errors", _TWO_SIDED]
    headers += ["on terms", "% of these", _TWO_SIDED] if words.has_terms else []
    return Table("Words to check", headers, rows, _reading_note(words))


def _reading_note(words: WordScores) -> str:
    figures = words.overall
    told = (
        f"What reading the least sure words finds: of {figures.num_wrong:,} wrong ones (substitutions and insertions), and of "
        f"all errors, {figures.num_deleted:,} deletions too, which leave no word to read. Reading at random finds as many "
        "percent of the wrong words as it reads."
    )
    if figures.num_unknown:
        told += (
            f" {figures.num_unknown:,} words of unknown confidence count nowhere; their errors are among all errors."
        )
    if words.measure.dev_sets:
        told += f" Without {', '.join(words.measure.dev_sets)}, on which confidences were calibrated."
    return told


def _bin_table(words: WordScores) -> Table:
    figures, calibration = words.overall, words.measure.calibration
    rows = [
        [
            f"{one.low:.1f} to {one.high:.1f}",
            f"{one.num_words:,}",
            number(one.right_percent),
            interval_text(one.right_interval),
        ]
        for one in figures.bins
        if one.num_words
    ]
    fitted = "Confidences as the system told them, not calibrated (words.dev_sets, words.dev_run)."
    if calibration is not None:
        fitted = (
            f"Calibrated on {calibration.source} ({calibration.num_words:,} words, {calibration.num_wrong:,} of them wrong): "
            f"slope {calibration.slope:.2f}, intercept {calibration.intercept:+.2f} of the log odds."
        )
    note = (
        f"{fitted} A word's confidence is the {_AGGREGATES[words.measure.aggregate.value]}. Where confidences are true, of words "
        "at 0.9 nine in ten are right: the dashed line."
    )
    return Table("Confidence and truth", ["confidence", "words", "right %", _TWO_SIDED], rows, note)


_AGGREGATES = {
    "product": "product of its tokens' probabilities",
    "min": "least of its tokens' probabilities",
    "mean": "geometric mean of its tokens' probabilities",
}


def _set_table(words: WordScores) -> Table:
    groups = dict(words.sets)
    if len(groups) > 1:
        groups["all sets, pooled"] = words.overall
    headers = ["", "words", "wrong", "deleted", "NCE", _TWO_SIDED, "ECE points", _TWO_SIDED]
    finds = f"{_headline(words.overall).percent:g} % read find %"
    rows = [
        [
            name,
            f"{one.num_words:,}",
            f"{one.num_wrong:,}",
            f"{one.num_deleted:,}",
            number(one.nce, 3),
            _hundredths(one.nce_interval),
            number(one.ece_percent),
            interval_text(one.ece_interval),
            number(_headline(one).found_percent) if one.readings else ABSENT,
        ]
        for name, one in groups.items()
    ]
    note = (
        "NCE, normalised cross entropy: 1 knows every error, 0 no more than how many there are, below 0 misleads. ECE, expected "
        "calibration error: points between confidence and truth, over ten bins. Words are characters in languages without spaces."
    )
    return Table("Confidence by set", [*headers, finds], rows, note)


def _hundredths(interval: Interval | None) -> str:
    if interval is None:
        return ABSENT
    return f"{interval.low_percent / 100:.2f} to {interval.high_percent / 100:.2f}"
