"""Owns the tables of a scored run: what stands in them.

Input: `ScoredRun`, `Confusions`, `System`s. Output: `Table`s of strings for terminal, Markdown and HTML.
"""

import itertools
from collections.abc import Mapping, Sequence

from qasr_train.evaluation.columns.scored import MIN_SPEAKERS, ColumnScores, is_small
from qasr_train.evaluation.columns.spread import Spread
from qasr_train.evaluation.columns.words import WorseWord
from qasr_train.evaluation.latency.tables import stream_tables
from qasr_train.evaluation.mixed.tables import mixed_tables
from qasr_train.evaluation.scoring.confusions import Confusions
from qasr_train.evaluation.scoring.context_echo import ContextScore
from qasr_train.evaluation.scoring.entities import TermScore
from qasr_train.evaluation.scoring.metrics import RESULTS, TROUBLE, TWO_SIDED, GroupScore, columns
from qasr_train.evaluation.scoring.rates import counts_of, percent, primary_metric_of
from qasr_train.evaluation.scoring.score import ScoredRun
from qasr_train.evaluation.scoring.significance import Interval, interval_text
from qasr_train.evaluation.scoring.systems import System
from qasr_train.evaluation.scoring.utterance import UtteranceScore
from qasr_train.evaluation.spellings.taken import spelling_counts
from qasr_train.evaluation.words.tables import reading_sentences
from qasr_train.pages.table import ABSENT, Table, number, p_text, text_table
from qasr_train.text.terms import MAX_TERM_WORDS
from qasr_train.transcription.prompts import PromptForm

DURATION_EDGES_S = (2.0, 5.0, 10.0, 20.0, 30.0, 60.0)


def score_summary(run: ScoredRun, directory: str) -> str:
    """What recipes/score.py prints."""
    parts = [text_table(headline_table(run))]
    if len(run.languages) > 1:
        parts.append(text_table(language_table(run)))
    parts.extend(text_table(table) for table in [*term_tables(run)[:1], *context_tables(run)])
    noted = [*mixed_tables(run), *stream_tables(run), *spelling_tables(run)]
    parts.extend(f"{table.title}\n{text_table(table)}\n{table.note}" for table in noted)
    parts.extend(f"{table.title}\n{text_table(table)}\n{table.note}" for table in column_tables(run))
    parts.extend(f"{table.title}\n{text_table(table)}" for table in style_tables(run)[:1])
    parts.extend(reading_sentences(run.words))
    parts.extend(f"warning: {warning}" for warning in run.warnings)
    parts.extend(prompt_lines(run))
    parts.append(f"normalizer {run.normalizer.name}; scores, utterances and report in {directory}")
    return "\n\n".join(parts)


def prompt_lines(run: ScoredRun) -> list[str]:
    """The prompt forms other than the system's own that it was transcribed with, and what they are; [] with its own alone."""
    own, known = PromptForm.own.value, {form.value: form.meaning for form in PromptForm}
    named = [f"{name} ({known[name]})" if name in known else name for name in run.prompts]
    return [] if run.prompts == [own] else [f"Prompts: {', '.join(named)}."]


def headline_table(run: ScoredRun) -> Table:
    """Figures per set, and their averages."""
    rows = _rows(RESULTS, run.sets)
    if len(rows) > 1:
        rows += _rows(RESULTS, {"all sets, pooled (micro)": run.overall})
        rows.append(_mean_row("mean over sets (macro)", run.macro_wer_percent, run.macro_wer_interval))
    return Table("Results", _headers(RESULTS), rows, _SCORE_NOTE)


def language_table(run: ScoredRun) -> Table:
    """Figures per language, each with the metric that is primary for it."""
    rows = _rows(RESULTS, run.languages)
    if len(rows) > 1:
        rows.append(
            _mean_row("mean over languages of WER or CER", run.macro_primary_percent, run.macro_primary_interval)
        )
    return Table("By language", _headers(RESULTS), rows)


def role_table(run: ScoredRun) -> Table:
    """Figures of the target and the guard sets."""
    return Table("By role", _headers(RESULTS), _rows(RESULTS, run.roles))


def column_tables(run: ScoredRun) -> list[Table]:
    """Rates by each column asked for, and the words that are heard worse in one group; [] where none is."""
    tables = []
    for column in run.columns:
        rows = [
            [
                f"{name} (small)" if is_small(column, name) else name,
                str(column.num_speakers[name] or ""),
                p_of,
                *cells[1:],
            ]
            for (name, p_of), cells in zip(_worse_p(column), _rows(RESULTS, column.groups), strict=True)
        ]
        note = " ".join([spread_text(column.spread), *_column_notes(column)])
        tables.append(Table(f"By {column.column}", ["", "speakers", "p worse", *_headers(RESULTS)[1:]], rows, note))
        words = [[one.word, one.group, *(f"{wrong}/{spoken}" for wrong, spoken in _heard(one))] for one in column.words]
        tables.append(Table(f"Words worse by {column.column}", _WORD_HEADERS, words, _WORD_NOTE))
    return [table for table in tables if table.rows]


_WORD_HEADERS = ["word", "group", "wrong here", "wrong elsewhere"]
_WORD_NOTE = "Times wrong / times spoken; words missed once are left out. For reading: words are not tested."
_WORSE_NOTE = "p worse: that the group is worse than the others, for all groups together."
_SMALL_NOTE = (
    f"Small: fewer than {MIN_SPEAKERS} speakers (of none named, utterances), whose rate may be theirs, not the group's."
)


def _column_notes(column: ColumnScores) -> list[str]:
    """What a reader must know of the table, and nothing of what does not stand in it."""
    notes = [column.note] if column.note else []
    notes += [_WORSE_NOTE] if column.spread.worse else []
    return notes + ([_SMALL_NOTE] if any(is_small(column, name) for name in column.groups) else [])


def spread_text(spread: Spread, what: str = "Spread") -> str:
    """Whether groups differ by more than chance, in a sentence. what: differs."""
    points = "" if spread.points is None else f"{spread.points:.2f} points from lowest to highest; "
    if spread.p_value is None:
        return f"{what}: {points}not tested: {spread.because}."
    return f"{what}: {points}p {p_text(spread.p_value)} that chance alone does this ({spread.because})."


def _worse_p(column: ColumnScores) -> list[tuple[str, str]]:
    worse = column.spread.worse
    return [(name, p_text(worse[name]) if name in worse else "") for name in column.groups]


def _heard(word: WorseWord) -> list[tuple[int, int]]:
    return [(word.num_wrong, word.num_spoken), (word.num_wrong_elsewhere, word.num_spoken_elsewhere)]


def trouble_table(run: ScoredRun) -> Table:
    """The ways to go wrong that an error rate hides."""
    note = f"{BROKEN_NOTE} Language right: of outputs whose language the model told. Non-speech clips have an empty reference."
    return Table("Other ways to go wrong", _headers(TROUBLE), _rows(TROUBLE, run.sets), note)


BROKEN_NOTE = (
    "Empty: no letter where something was said. Garbled: U+FFFD, control or private characters. Looping: a unit of up to 20 "
    "words stands 4 times or more in a row, and not in the reference. Cut off: the limit of new tokens was met, or less than a "
    "third of the reference was written. Another language: over half is wrong, and it is in a script that the reference has not, "
    "or the model told another language."
)
_SCORE_NOTE = (
    "The metric that is primary for the language carries a star; the two-sided interval is of that metric, over speakers where "
    "two or more are named, else utterances; scores.json says which and why."
)


def _headers(table: str) -> list[str]:
    return ["", *(figure.title for figure in columns(table))]


def _rows(table: str, groups: Mapping[str, GroupScore]) -> list[list[str]]:
    return [[name, *(figure.cell(group) for figure in columns(table))] for name, group in groups.items()]


def _mean_row(name: str, percent: float | None, interval: Interval | None) -> list[str]:
    """A mean of error rates, in the column of WER, and its interval."""
    cells = {"wer_percent": number(percent), "interval": interval_text(interval)}
    return [name, *(cells.get(figure.name, "") for figure in columns(RESULTS))]


def term_tables(run: ScoredRun) -> list[Table]:
    """Terms per set, and the terms most often missed or added; [] without a term list."""
    if run.entities is None:
        return []
    entities = run.entities
    rows = [_term_row(name, group) for name, group in entities.sets.items()]
    if len(rows) > 1:
        rows.append(_term_row("all sets, pooled", entities.overall))
    note = (
        f"{entities.terms.num_terms} terms of {entities.terms.path}. Term errors: edits between the sequences of terms, of the "
        "terms spoken. Errors on and off: error rate (WER; CER in languages without spaces) over the words of the reference "
        "inside and outside the terms."
    )
    wrong = [
        [term, str(spoken), str(written), str(found)]
        for term, (spoken, written, found) in entities.by_term.items()
        if spoken > found or written > found
    ]
    return [
        Table("Terms", _TERM_HEADERS, rows, note),
        Table("Terms most often missed or added", ["term", "spoken", "written", "found"], wrong[:20]),
    ]


_TERM_HEADERS = [
    "terms",
    "spoken",
    "written",
    "found",
    "recall %",
    TWO_SIDED,
    "precision %",
    "F1 %",
    TWO_SIDED,
    "term errors %",
    "errors on %",
    "errors off %",
]


def _term_row(name: str, group: TermScore) -> list[str]:
    counts = [group.num_spoken, group.num_written, group.num_found]
    recall, f1 = interval_text(group.recall_interval), interval_text(group.f1_interval)
    rates = [number(group.recall_percent), recall, number(group.precision_percent), number(group.f1_percent), f1]
    errors = [group.term_error_percent, group.on_terms_percent, group.off_terms_percent]
    return [name, *map(str, counts), *rates, *map(number, errors)]


def text_tables(run: ScoredRun) -> list[Table]:
    """Errors where languages meet, how soon words of streams stand, what became of listed and of offered terms, which of
    several right spellings were taken, and how the outputs are written."""
    told = [*mixed_tables(run), *stream_tables(run), *term_tables(run), *context_tables(run)]
    return [*told, *spelling_tables(run), *style_tables(run)]


def spelling_tables(run: ScoredRun, num_rows: int = 20) -> list[Table]:
    """Which of several right spellings the outputs were held against; [] where no place has several."""
    counts = spelling_counts(run.rows)
    if not counts:
        return []
    rows = [[" / ".join(t or "@" for t in one.spellings), one.taken or "@", str(n)] for one, n in counts[:num_rows]]
    num_places, num_more = sum(count for _, count in counts), len(counts) - num_rows
    note = f"{num_places} places with several right spellings, each held against the one with the fewest errors; @: nothing."
    note += (
        f" By {run.lexicon.path}, {run.lexicon.num_groups} groups, besides the references' own." if run.lexicon else ""
    )
    note += f" {num_more} more kinds are not listed." if num_more > 0 else ""
    return [Table("Spellings taken", ["right, the written one first", "taken", "times"], rows, note)]


def context_tables(run: ScoredRun) -> list[Table]:
    """What became of the terms offered in the prompt; [] where no row had a context."""
    if run.context is None:
        return []
    rows = [_context_row(name, group) for name, group in run.context.sets.items()]
    if len(rows) > 1:
        rows.append(_context_row("all sets, pooled", run.context.overall))
    note = "Each term counts once for every utterance that it was offered to. Echo: offered terms written without being spoken."
    if run.context.overall.num_prose:
        note += f" {run.context.overall.num_prose} pieces of more than {MAX_TERM_WORDS} words are not counted as terms."
    spoken, echoed = ["spoken", "found", "recall %", TWO_SIDED], ["unspoken", "echoed", "echo %", TWO_SIDED]
    headers = ["context", "utterances", "offered", *spoken, *echoed]
    return [Table("Terms offered in the context", headers, rows, note)]


def _context_row(name: str, group: ContextScore) -> list[str]:
    recall = [number(group.context_recall_percent), interval_text(group.recall_interval)]
    echo = [number(group.context_echo_percent), interval_text(group.echo_interval)]
    spoken = [group.num_utterances, group.num_offered, group.num_spoken, group.num_found]
    return [name, *map(str, spoken), *recall, str(group.num_unspoken), str(group.num_echoed), *echo]


def style_tables(run: ScoredRun) -> list[Table]:
    """How the outputs are written, per set, and what is written otherwise most often; [] where no trait is asked for."""
    if run.style is None:
        return []
    rows = [
        [
            one.trait.value,
            one.set or "all sets, pooled",
            f"{one.num_places:,}",
            f"{one.num_errors:,}",
            number(one.percent),
            interval_text(one.interval),
        ]
        for one in run.style.traits
    ]
    often = [
        [one.trait.value, one.expected or ABSENT, one.written or ABSENT, str(count)]
        for one, count in run.style.otherwise[:20]
        if count > 1
    ]
    return [
        Table("Style", ["style", "set", "places", "otherwise", "error %", TWO_SIDED], rows, STYLE_NOTE),
        Table("Most often written otherwise", ["style", "reference", "output", "times"], often),
    ]


STYLE_NOTE = (
    "Held against the references: a place is where reference or output has the mark, capital, number, unit or filler, an error "
    "where they differ there. Numbers, units and capitals only of words that were heard right, however written (by qasr-2)."
)


def systems_table(systems: Sequence[System], note: str = "") -> Table:
    """Systems by name, mean error rate, speed, and what they are."""
    rows = [
        [
            one.name,
            number(one.mean_percent),
            number(one.rtfx, 1) + (" (loading included)" if one.rtfx and one.is_wall_time else ""),
            _millions(one.size_b),
            one.languages or ABSENT,
            one.architecture or ABSENT,
            one.license or ABSENT,
            one.figures_of,
        ]
        for one in systems
    ]
    headers = ["system", "mean %", "RTFx", "parameters", "languages", "architecture", "licence", "figures"]
    text = "Mean of WER (CER in languages without spaces) over the sets, unweighted; RTFx each on its own hardware."
    return Table("Systems", headers, rows, f"{text} {note}".strip())


def _millions(size_b: float | None) -> str:
    if size_b is None:
        return ABSENT
    return f"{1000 * size_b:,.0f} M" if size_b >= 0.1 else f"{1000 * size_b:.3g} M"


def duration_table(run: ScoredRun) -> Table:
    """Error rate by length of the recording."""
    buckets: list[list[UtteranceScore]] = [[] for _ in range(len(DURATION_EDGES_S) + 1)]
    for row in run.rows:
        if row.is_scored and row.prediction.duration_s is not None:
            buckets[sum(row.prediction.duration_s >= edge for edge in DURATION_EDGES_S)].append(row)
    labels = _duration_labels()
    rows = [[label, *_rates(bucket)] for label, bucket in zip(labels, buckets, strict=True) if bucket]
    return Table("By duration", ["seconds", "utterances", "words", "WER %", "CER %"], rows)


def _duration_labels() -> list[str]:
    edges = [f"{edge:g}" for edge in DURATION_EDGES_S]
    between = [f"{low} to {high}" for low, high in itertools.pairwise(edges)]
    return [f"under {edges[0]}", *between, f"{edges[-1]} or more"]


def _rates(rows: Sequence[UtteranceScore]) -> list[str]:
    (errors, num_words), (character_errors, num_characters) = (counts_of(rows, metric) for metric in ("wer", "cer"))
    is_cer = primary_metric_of({row.prediction.language for row in rows}) == "cer"
    wer = number(percent(errors.sum(), num_words.sum()))
    cer = number(percent(character_errors.sum(), num_characters.sum()))
    return [str(len(rows)), str(num_words.sum()), wer + ("" if is_cer else " *"), cer + (" *" if is_cer else "")]


def confusion_tables(confusions: Confusions, num_rows: int = 20) -> list[Table]:
    """The most frequent substitutions, deletions and insertions; words, or characters in languages without spaces.

    What happened once says nothing of a pattern and is left out; each table says how many such errors there are. A kind of which
    there is none has no table.
    """
    deletions = [((word,), count) for word, count in confusions.deletions.most_common()]
    insertions = [((word,), count) for word, count in confusions.insertions.most_common()]
    tables = [
        _confusion_table(
            "Most frequent substitutions", ["reference", "heard as"], confusions.substitutions.most_common(), num_rows
        ),
        _confusion_table("Most frequent deletions", ["word"], deletions, num_rows),
        _confusion_table("Most frequent insertions", ["word"], insertions, num_rows),
    ]
    return [table for table in tables if table.rows or table.note]


def _confusion_table(
    title: str, headers: list[str], counts: Sequence[tuple[tuple[str, ...], int]], num_rows: int
) -> Table:
    """counts: words and how often, falling."""
    repeated = [(words, count) for words, count in counts if count > 1]
    num_once, num_more = len(counts) - len(repeated), max(0, len(repeated) - num_rows)
    told = [f"{num_more:,} more came twice or oftener"] if num_more else []
    told += [f"{num_once:,} came once"] if num_once else []
    note = f"Not listed: {', '.join(told)}." if told else ""
    rows = [[*words, str(count)] for words, count in repeated[:num_rows]]
    return Table(title, [*headers, "times"], rows, note)
