"""Owns the evaluation of an aligner on a suite: its times and those of baselines beside references, one table.

Input: sets whose rows state words with times, aligners by name. Output in the run directory: timings.jsonl (every boundary),
alignment.json (every figure), alignment.md; the table on stdout.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from qasr_train.alignment.text import Hear, align_text
from qasr_train.audio.decode import SAMPLE_RATE_HZ
from qasr_train.data.workers import load_recording
from qasr_train.errors import DataError
from qasr_train.evaluation.timing.shifts import Boundary, Figures, Timing, figures_of, moved_ms, time_words
from qasr_train.files import write_json, write_rows, write_whole
from qasr_train.manifest import Utterance
from qasr_train.models.base import Aligner
from qasr_train.pages.table import Table, markdown_table, number, text_table

# Where in a recording a boundary lies: errors that grow with the length are seen by it.
PLACES_S = ((0.0, 5.0), (5.0, 15.0), (15.0, 30.0), (30.0, 60.0), (60.0, 120.0), (120.0, 270.0), (270.0, float("inf")))
_HEADERS = "system, group|boundaries|AAS ms|95 %|start|end|bias|<=40 ms %|<=80 ms %|<=200 ms %|unplaced %|zero %|still %".split(
    "|"
)


def evaluate_timing(
    sets: dict[str, Sequence[Utterance]],
    aligners: dict[str, Aligner],
    run_dir: Path,
    *,
    hear: Hear | None,
    min_confidence: float,
) -> None:
    """Time every word of the sets by every aligner, and write how far off they are.

    Of the first aligner and those named after it ("NAME, ...") is told how far their times lie apart.

    Raises:
        DataError: a row states no words with times. AudioError: a recording cannot be read.
    """
    refuse_untimed(sets)
    timings = {
        (name, of): [
            _timing(aligner, one, hear, min_confidence) for one in tqdm(rows, desc=f"{name}, {of}", unit="clip")
        ]
        for name, aligner in aligners.items()
        for of, rows in sets.items()
    }
    figures = {(*key, group): found for key, own in timings.items() for group, found in groups_of(own)}
    table = Table("Times of words", list(_HEADERS), [_row(key, one) for key, one in figures.items()], _NOTE)
    moved = _moved(list(aligners), timings)
    write_rows(run_dir / "timings.jsonl", (_of_row(key, one) for key, own in timings.items() for one in own))
    write_json(
        run_dir / "alignment.json",
        {
            "figures": [
                {"system": key[0], "set": key[1], "group": key[2], **asdict(one)} for key, one in figures.items()
            ],
            "moved_ms": [{"system": name, "set": of, "moved_ms": by_ms} for (name, of), by_ms in moved.items()],
        },
    )
    told = [
        f"{name}, {of}: times lie {number(ms, 1)} ms from those of {next(iter(aligners))}"
        for (name, of), ms in moved.items()
    ]
    write_whole(run_dir / "alignment.md", "\n\n".join([markdown_table(table), *told]) + "\n")
    print("\n".join([text_table(table), *told]))


def _moved(names: Sequence[str], timings: dict[tuple[str, str], list[Timing]]) -> dict[tuple[str, str], float | None]:
    """How far the times of those named after the first aligner lie from its own, in ms, by (name, set)."""
    return {
        key: moved_ms(timings[names[0], key[1]], own)
        for key, own in timings.items()
        if key[0].startswith(f"{names[0]}, ")
    }


_NOTE = (
    "AAS: mean distance of a boundary from its reference; start, end: of those alone; bias: mean shift, later is positive. "
    "Unplaced words have no distance. zero: words that begin where they end. still: of words after the first minute, those that "
    "begin where the word before does."
)


def refuse_untimed(sets: dict[str, Sequence[Utterance]]) -> None:
    """Refuse rows whose words have no times (DataError names the first)."""
    for name, rows in sets.items():
        for one in rows:
            if not any(word.is_placed for word in one.words):
                raise DataError(
                    f"set {name!r}: {one.origin}: utterance {one.id!r} states no times of its words; suite=alignment needs "
                    "a column `words` of objects with text, start and end"
                )


def groups_of(timings: Sequence[Timing]) -> Iterable[tuple[str, Figures]]:
    """All of them; by language; by the place in the recording. Groups that hold everything or nothing are left out."""
    yield "all", figures_of(timings)
    languages = sorted({one.language for one in timings})
    for language in languages if len(languages) > 1 else []:
        yield language, figures_of([one for one in timings if one.language == language])
    for first, last in PLACES_S:
        found = figures_of(timings, _between(first, last))
        if 0 < found.num_boundaries < sum(len(one.boundaries) for one in timings):
            yield f"{first:g} s and later" if last == float("inf") else f"{first:g}-{last:g} s", found


def _between(first: float, last: float) -> Callable[[Boundary], bool]:
    def is_there(one: Boundary) -> bool:
        return first <= one.at_s < last

    return is_there


def _timing(aligner: Aligner, utterance: Utterance, hear: Hear | None, min_confidence: float) -> Timing:
    begin_s = utterance.start_s or 0.0
    reference = [word for word in utterance.words if aligner.split(word.text, utterance.language)]
    num_units = [len(aligner.split(word.text, utterance.language)) for word in reference]
    waveform = load_recording(utterance).waveform
    text = " ".join(word.text for word in reference)
    language = utterance.language if not aligner.languages or utterance.language in aligner.languages else None
    # What is heard shares a text out over parts, and is not asked of a recording that is taken in one; doubt is no figure here.
    is_cut = len(waveform) > aligner.longest_s * SAMPLE_RATE_HZ
    found = align_text(aligner, waveform, text, language, hear=hear if is_cut else None, min_confidence=min_confidence)
    if len(found.words) != sum(num_units):
        raise DataError(
            f"{utterance.origin}: utterance {utterance.id!r} is cut into {len(found.words)} words as a whole and "
            f"{sum(num_units)} word by word; state the words as the aligner cuts them"
        )
    moved = [word.moved(-begin_s) for word in reference]
    return time_words(utterance.id, utterance.language, moved, found.words, num_units)


def _row(key: tuple[str, str, str], one: Figures) -> list[str]:
    low_high = "-" if one.interval_ms is None else f"{one.interval_ms[0]:.0f}-{one.interval_ms[1]:.0f}"
    head = [f"{key[0]}, {key[1]}: {key[2]}", str(one.num_boundaries), number(one.aas_ms, 1), low_high]
    rest = (one.start_ms, one.end_ms, one.bias_ms, one.within_40, one.within_80, one.within_200)
    return [*head, *(number(value, 1) for value in (*rest, one.unplaced, one.zero, one.still))]


def _of_row(key: tuple[str, str], one: Timing) -> dict[str, Any]:
    row = asdict(one)
    shifts = [[b.is_start, round(b.at_s, 3), round(b.shift_s, 3)] for b in one.boundaries]
    return {"system": key[0], "set": key[1], **row, "boundaries": shifts}
