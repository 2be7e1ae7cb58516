"""Owns what `prepare` reports: hours, languages, speakers, durations, characters, rejects, duplicates, what splits share.

Input: the prepared utterances and what was measured. Output: a `Summary`, as JSON, as Markdown, and as a table for the terminal.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from qasr_train.audio.decode import SAMPLE_RATE_HZ
from qasr_train.corpus.debris import Debris
from qasr_train.corpus.findings import Finding, Severity
from qasr_train.corpus.splits import Overlap
from qasr_train.corpus.worker import Measured
from qasr_train.data.settings import DataConfig
from qasr_train.manifest import Utterance
from qasr_train.sources.intake import NOT_USABLE, Intake
from qasr_train.text.alternatives.notation import first_spelling, has_alternatives

SUMMARY_VERSION = 1
OTHER_TEXT = "same sound and another text"  # how the reason of such a duplicate begins
DURATION_EDGES_S = (0, 1, 2, 5, 10, 15, 20, 30, 60, 300)
_MAX_LISTED = 20
_STATED_TOLERANCE_S = 0.5
_MAX_CHARACTERS_PER_S = 40.0  # very fast speech has some 25 letters a second; beyond this text and sound do not belong
_TRAINED_ON_S = DataConfig(train={}).max_duration_s
_HOW_TO_MEND = {kind.note: f"; mend=[{kind.value}] takes it out" for kind in Debris}
_DURATION_IS_OFF = "the stated duration is off by more than half a second"
_SEVERAL_SPELLINGS = "several right spellings, { a / b }: scored by the best of them, taught as the first"
_TOO_MUCH_TEXT = "more text than can be said in the time (over 40 characters a second)"
# What stands in transcripts and is not said is learned as if it were; what else is odd, somebody should look at.
_SEVERITIES = dict.fromkeys([_DURATION_IS_OFF, _TOO_MUCH_TEXT, *(kind.note for kind in Debris)], Severity.FAULT)
_CLIPPED_SHARE = 1e-3  # of the samples at full scale; one peak there is no distortion


@dataclass(frozen=True, slots=True)
class Reject:
    """A clip that is not in the manifest, where its row stands, and why."""

    id: str
    audio: str
    origin: str
    reason: str

    @classmethod
    def of(cls, utterance: Utterance, reason: str) -> "Reject":
        """The reject of an utterance."""
        return cls(utterance.id, utterance.audio_name, utterance.origin, reason)

    @property
    def kind(self) -> str:
        """The reason without what differs from clip to clip: names, numbers."""
        reason = re.sub(r"^(same sound.*? as) .*", r"\1 another", self.reason)
        return re.sub(r"\b\d[\d.]*", "N", re.sub(r"'[^']*'|\([^)]*\)", "...", reason))


@dataclass(frozen=True)
class RejectKind:
    """Clips rejected for the same kind of reason: how many, the id of the first and its reason word for word."""

    count: int
    example: str
    reason: str


@dataclass(frozen=True)
class Part:
    """Clips of one split or language: how many, how long, by whom."""

    num_clips: int
    hours: float
    num_speakers: int
    num_no_speech: int


@dataclass(frozen=True)
class Summary:
    """What a prepared corpus is made of. Durations in seconds; `examples` hold the ids of the first few clips.

    rows: what became of the rows of the source, as `Intake.record` has it. other_texts: the first few clips whose sound another
    has with another text, each with its line and the other's. mended: kind of debris -> transcripts it was taken out of.
    with_tests: what the corpus shares with test sets that stand elsewhere.
    """

    total: Part
    splits: dict[str, Part]
    languages: dict[str, Part]
    mean_duration_s: float
    longest_duration_s: float
    durations: dict[str, int]
    characters: dict[str, int]
    num_rejected: int
    rejects: list["RejectKind"]
    num_duplicates: int
    num_duplicates_with_other_text: int
    overlaps: list[Overlap]
    notes: dict[str, int]
    rows: dict[str, Any]
    other_texts: list[str]
    mended: dict[str, int]
    examples: dict[str, list[str]] = field(default_factory=dict)
    with_tests: list[Finding] = field(default_factory=list)
    version: int = SUMMARY_VERSION

    def table(self) -> str:
        """For the terminal: splits, languages, durations, and whatever needs a look."""
        lines = [_row("", "clips", "hours", "speakers", "no speech")]
        lines += [_part_row(name, part) for name, part in self.splits.items() if len(self.splits) > 1]
        lines += [_part_row(name, part) for name, part in self.languages.items() if len(self.languages) > 1]
        lines += [_part_row("all", self.total), ""]
        widest = max(self.durations.values())
        for name, count in self.durations.items():
            lines.append(f"{name:>12}  {count:>9}  {'#' * round(40 * count / widest)}")
        return "\n".join([*lines, "", *self.remarks()])

    def remarks(self) -> list[str]:
        """One line for everything a person should look at, in the recordings above all."""
        return [one.text for one in self.findings()]

    def findings(self) -> list[Finding]:
        """The same, with how bad each is and of which clips."""
        characters = f"characters: {len(self.characters)} different, most often {''.join(list(self.characters)[:30])!r}"
        found = [Finding(Severity.FACT, self._rows_line()), Finding(Severity.FACT, characters)]
        found += [
            Finding(Severity.FAULT, f"rejected {kind.count}, e.g. {kind.example}: {kind.reason}", (), kind.count)
            for kind in self.rejects
        ]
        if self.num_duplicates:
            told = f"same sound as an earlier clip: {self.num_duplicates}, {self.num_duplicates_with_other_text} of them with "
            severity = Severity.FAULT if self.num_duplicates_with_other_text else Severity.LOOK
            text = f"{told}another text{self._other_texts()}"
            found.append(Finding(severity, text, (), self.num_duplicates))
        for overlap in self.overlaps:
            found += _overlap_findings(overlap)
        found += self.with_tests
        found += [
            Finding(Severity.FACT, f"mended: {note}: {count} transcripts", (), count)
            for note, count in self.mended.items()
        ]
        return found + [
            Finding(
                _SEVERITIES.get(note, Severity.LOOK),
                f"{note}: {count} (e.g. {', '.join(self.examples[note][:3])}){_HOW_TO_MEND.get(note, '')}",
                self.examples[note],
                count,
            )
            for note, count in self.notes.items()
        ]

    def _rows_line(self) -> str:
        """Rows in, clips out, and what became of the others."""
        parts = [f"{number} {reason}" for reason, number in self.rows["left_out"].items() if reason != NOT_USABLE]
        left_out = f", {', '.join(parts)} left out" if parts else ""
        ended = f"; {self.rows['ended']}" if "ended" in self.rows else ""
        return (
            f"rows: {self.rows['num_rows']} read, {self.total.num_clips} in the manifest, {self.num_rejected} rejected"
            f"{left_out}{ended}"
        )

    def _other_texts(self) -> str:
        return f" (e.g. {'; '.join(self.other_texts[:3])})" if self.other_texts else ""

    def markdown(self) -> str:
        """The whole as a page."""
        head = "| | clips | hours | speakers | no speech |\n|---|---:|---:|---:|---:|"
        parts = [("all", self.total), *self.splits.items(), *self.languages.items()]
        rows = [f"| {n} | {p.num_clips} | {p.hours:.2f} | {p.num_speakers} | {p.num_no_speech} |" for n, p in parts]
        durations = [f"| {name} | {count} |" for name, count in self.durations.items()]
        characters = [f"`{char}` {count}" for char, count in self.characters.items()]
        sections = [
            "# Prepared corpus",
            "\n".join([head, *rows]),
            f"Mean length {self.mean_duration_s:.2f} s, longest {self.longest_duration_s:.2f} s.",
            "\n".join(["| length | clips |", "|---|---:|", *durations]),
            "## To look at\n\n" + "\n".join(f"- {line}" for line in self.remarks()),
            f"## Characters\n\n{len(self.characters)} different: " + ", ".join(characters),
        ]
        return "\n\n".join(sections) + "\n"


def summarize(
    utterances: Sequence[Utterance],
    measured: Sequence[Measured],
    stated_durations_s: Sequence[float | None],
    rejects: Sequence[Reject],
    duplicates: Sequence[Reject],
    overlaps: Sequence[Overlap],
    intake: Intake,
    mended: Mapping[Debris, int],
) -> Summary:
    """Count what there is. `measured` and `stated_durations_s` go with `utterances`; there is at least one.

    `duplicates` are the clips whose sound an earlier clip has, whether they were kept or not; `mended` the transcripts that held
    debris which is no longer there.
    """
    other_texts = [one for one in duplicates if one.reason.startswith(OTHER_TEXT)]
    durations_s = [found.duration_s for found in measured]
    examples = _notes(utterances, measured, stated_durations_s)
    return Summary(
        total=_part(utterances),
        splits=_parts(utterances, lambda u: u.split or "no split"),
        languages=_parts(utterances, lambda u: u.language or "unknown language"),
        mean_duration_s=sum(durations_s) / len(durations_s),
        longest_duration_s=max(durations_s),
        durations=_histogram(durations_s),
        characters=dict(Counter(char for u in utterances for char in first_spelling(u.text or "")).most_common()),
        num_rejected=len(rejects),
        rejects=_reject_kinds(rejects),
        num_duplicates=len(duplicates),
        num_duplicates_with_other_text=len(other_texts),
        overlaps=list(overlaps),
        notes={note: len(ids) for note, ids in examples.items()},
        rows=intake.record(),
        other_texts=[
            f"{one.id} ({one.origin}) as {one.reason.removeprefix(OTHER_TEXT + ' as ')}"
            for one in other_texts[:_MAX_LISTED]
        ],
        mended={kind.note: number for kind, number in mended.items()},
        examples={note: ids[:_MAX_LISTED] for note, ids in examples.items()},
    )


def _notes(
    utterances: Sequence[Utterance], measured: Sequence[Measured], stated_durations_s: Sequence[float | None]
) -> dict[str, list[str]]:
    """What is odd but no reason to reject -> ids of the clips."""
    odd: dict[str, list[str]] = defaultdict(list)
    for utterance, found, stated_s in zip(utterances, measured, stated_durations_s, strict=True):
        if stated_s is not None and abs(stated_s - found.duration_s) > _STATED_TOLERANCE_S:
            odd[_DURATION_IS_OFF].append(utterance.id)
        if len(first_spelling(utterance.text or "")) > _MAX_CHARACTERS_PER_S * found.duration_s:
            odd[_TOO_MUCH_TEXT].append(utterance.id)
        if has_alternatives(utterance.text or ""):
            odd[_SEVERAL_SPELLINGS].append(utterance.id)
        for kind in Debris:
            if kind.is_in(utterance.text or ""):
                odd[kind.note].append(utterance.id)
        if found.num_clipped_samples > _CLIPPED_SHARE * found.duration_s * SAMPLE_RATE_HZ:
            odd["clipped: over 0.1 % of the samples at full scale"].append(utterance.id)
        if found.duration_s > _TRAINED_ON_S:
            odd[f"longer than the {_TRAINED_ON_S:g} s that training takes unless data.max_duration_s is raised"].append(
                utterance.id
            )
        if found.is_scaled:
            odd["beyond full scale, written softer"].append(utterance.id)
    return dict(odd)


def _reject_kinds(rejects: Sequence[Reject]) -> list[RejectKind]:
    first: dict[str, Reject] = {}
    for reject in rejects:
        first.setdefault(reject.kind, reject)
    counts = Counter(reject.kind for reject in rejects)
    return [RejectKind(count, first[kind].id, first[kind].reason) for kind, count in counts.most_common()]


def _parts(utterances: Sequence[Utterance], name_of: Callable[[Utterance], str]) -> dict[str, Part]:
    grouped: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        grouped[name_of(utterance)].append(utterance)
    return {name: _part(group) for name, group in sorted(grouped.items(), key=lambda item: -len(item[1]))}


def _part(utterances: Iterable[Utterance]) -> Part:
    clips = list(utterances)
    return Part(
        num_clips=len(clips),
        hours=sum(u.duration_s or 0.0 for u in clips) / 3600,
        num_speakers=len({u.speaker for u in clips} - {None}),
        num_no_speech=sum(u.text == "" for u in clips),
    )


def _histogram(durations_s: Sequence[float]) -> dict[str, int]:
    counts = Counter(max(edge for edge in DURATION_EDGES_S if edge <= duration_s) for duration_s in durations_s)
    ends = dict(pairwise(DURATION_EDGES_S))
    return {
        f"{edge}-{ends[edge]} s" if edge in ends else f"over {edge} s": counts[edge]
        for edge in DURATION_EDGES_S
        if counts[edge]
    }


def _row(*cells: str) -> str:
    return f"{cells[0]:>20}  " + "  ".join(f"{cell:>10}" for cell in cells[1:])


def _part_row(name: str, part: Part) -> str:
    return _row(name, str(part.num_clips), f"{part.hours:.2f}", str(part.num_speakers), str(part.num_no_speech))


def _overlap_findings(overlap: Overlap) -> list[Finding]:
    found = []
    pair = f"{overlap.of} and {overlap.within}"
    if overlap.num_shared_audio:
        ids = ", ".join(overlap.shared_audio_ids[:3])
        text = f"LEAK: {pair} share the sound of {overlap.num_shared_audio} clips of {overlap.of} (e.g. {ids})"
        found.append(Finding(Severity.LEAK, text, overlap.shared_audio_ids, overlap.num_shared_audio))
    if overlap.shared_speakers:
        names = ", ".join(overlap.shared_speakers[:3])
        found.append(Finding(Severity.LEAK, f"{pair} share {len(overlap.shared_speakers)} speakers (e.g. {names})"))
    severity = Severity.LOOK if overlap.shared_text_fraction > 0 else Severity.FACT
    text = f"{100 * overlap.shared_text_fraction:.1f} % of the texts of {overlap.of} stand in {overlap.within}"
    return [*found, Finding(severity, text)]
