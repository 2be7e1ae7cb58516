"""Owns the tables of comparisons: gain and loss of one candidate, of its terms, and of several candidates side by side.

Input: `Comparison`s. Output: `Table`s, and what recipes/compare.py prints.
"""

from collections.abc import Mapping, Sequence

from qasr_train.evaluation.comparing.compare import Comparison
from qasr_train.evaluation.comparing.gate import units_text, verdict_text
from qasr_train.evaluation.comparing.group import GroupComparison
from qasr_train.evaluation.comparing.paired import PairedTest
from qasr_train.evaluation.comparing.term_changes import ALL_SETS, MIXED_RATES
from qasr_train.evaluation.report.tables import BROKEN_NOTE, STYLE_NOTE, TWO_SIDED, spread_text
from qasr_train.evaluation.scoring.utterance import ANY
from qasr_train.pages.table import ABSENT, Table, number, p_text, text_table

POOLED = "all sets, pooled"


def comparison_summary(comparison: Comparison, directory: str) -> str:
    """What recipes/compare.py prints."""
    tables = [comparison_table(comparison), *term_change_tables(comparison), *style_change_tables(comparison)]
    tables.append(output_table(comparison))
    parts = [text_table(table) for table in tables]
    parts += [f"{table.title}\n{text_table(table)}\n{table.note}" for table in column_change_tables(comparison)]
    parts.append(verdict_text(comparison.verdict))
    parts.extend(f"warning: {warning}" for warning in comparison.warnings)
    parts.append(f"normalizer {comparison.normalizer.name}; comparison and report in {directory}")
    return "\n\n".join(parts)


def comparison_table(comparison: Comparison) -> Table:
    """Gain and loss per set, per language where there are several, and over all."""
    rows = [_comparison_row(name, comparison.roles.get(name) or "", group) for name, group in comparison.sets.items()]
    if len(comparison.languages) > 1:
        rows += [_comparison_row(name, "language", group) for name, group in comparison.languages.items()]
    if len(comparison.sets) > 1:
        rows.append(_comparison_row(POOLED, "", comparison.overall))
    note = (
        "Change in points, below 0 is better; two-sided interval and two-sided p: paired t test over units, what is taken to be "
        "independent. MDE, minimum detectable effect: the smallest change in points that so many units show in four of five "
        "cases (none: no change shows, however large); more units: how many more like these would show the change seen. "
        "Better/worse: utterances with fewer and more errors. A star says that p is below the gate's alpha. A target is decided "
        "by the p of its row, a guard by the one-sided bound in the gate's sentence; the p of languages, of sets without a role "
        "and of all sets pooled decide nothing."
    )
    return Table("Gain and loss against the baseline", _COMPARISON_HEADERS, rows, note)


_TEST_HEADERS = ["baseline %", "candidate %", "change", TWO_SIDED, "p"]
_GROUP_HEADERS = ["", "utterances", "metric", *_TEST_HEADERS, "units", "MDE", "more units", "better/worse"]
_COMPARISON_HEADERS = ["", "role", *_GROUP_HEADERS[1:]]
_ALONE = "The p of a row is of that group alone."


def column_change_tables(comparison: Comparison) -> list[Table]:
    """Gain and loss by each column asked for; [] where none is."""
    return [
        Table(
            f"Gain and loss by {column.column}",
            _GROUP_HEADERS,
            [
                [f"{name} (1 speaker)" if name in column.one_speaker else name, *_comparison_cells(group)]
                for name, group in column.groups.items()
            ],
            " ".join([spread_text(column.spread, "Spread of the changes"), _ALONE, column.note]).rstrip(),
        )
        for column in comparison.columns
    ]


def _comparison_row(name: str, role: str, group: GroupComparison) -> list[str]:
    return [name, role, *_comparison_cells(group)]


def _comparison_cells(group: GroupComparison) -> list[str]:
    """Of the columns after the name, or name and role."""
    first = [str(group.num_utterances), group.metric.upper()]
    if group.test is None:
        return [*first, *[ABSENT] * 8, ""]
    shown = "none" if group.test.detectable_points is None else number(group.test.detectable_points)
    more = ABSENT if group.test.num_more_units is None else f"{group.test.num_more_units:,}"
    better = f"{group.num_better}/{group.num_worse}"
    return [*first, *_test_cells(group.test), units_text(group.test), shown, more, better]


def term_change_tables(comparison: Comparison) -> list[Table]:
    """Recall, precision, F1 of terms, context recall and echo, MER under both systems; [] where there is none of them."""
    rows: dict[bool, list[list[str]]] = {False: [], True: []}  # terms; MER
    for change in comparison.terms:
        figures = _test_cells(change.test) if change.test else [ABSENT] * 5
        rows[change.rate in MIXED_RATES.values()].append(
            [change.rate, POOLED if change.set == ALL_SETS else change.set, str(change.num_utterances), *figures]
        )
    headers = ["rate", "set", "utterances", "baseline %", "candidate %", "difference", TWO_SIDED, "p"]
    note = (
        "Difference in points: above 0 is better for recall, precision and F1, below 0 for echo. Two-sided interval and p of a "
        "paired t test over units; a star says that p is below the gate's alpha. The gate does not look at these."
    )
    mixed_note = "Difference in points, below 0 is better; two-sided interval and p of a paired t test over units."
    tables = [
        Table("Terms: gain and loss", headers, rows[False], note),
        Table("Mixed languages: gain and loss", headers, rows[True], mixed_note),
    ]
    return [table for table in tables if table.rows]


def style_change_tables(comparison: Comparison) -> list[Table]:
    """Error rates of style under both systems; [] where none is asked for."""
    rows = [
        [
            one.trait.value,
            POOLED if one.set == ALL_SETS else one.set,
            str(one.num_utterances),
            *(_test_cells(one.test) if one.test else [ABSENT] * 5),
        ]
        for one in comparison.style
    ]
    headers = ["style", "set", "utterances", *_TEST_HEADERS]
    note = f"{STYLE_NOTE} Change in points, below 0 is better; two-sided interval and p of a paired t test over units."
    return [Table("Style: gain and loss", headers, rows, note)] if rows else []


def output_table(comparison: Comparison) -> Table:
    """Broken outputs under both systems: over all, and of each set that has any; each way in which there are any."""
    groups = dict(comparison.sets)
    if len(groups) > 1:
        groups[POOLED] = comparison.overall
    total = POOLED if len(groups) > 1 else next(iter(groups), None)
    rows = [
        [name, way, number(one.baseline_percent), number(one.candidate_percent), f"{one.change_points:+z.2f}"]
        for name, group in groups.items()
        for way, one in group.outputs.items()
        if (way == ANY and name == total) or one.num_baseline or one.num_candidate
    ]
    note = (
        f"Percent of the outputs, and the change in points: above 0 is worse; sets without any are left out. {BROKEN_NOTE} The "
        f'gate refuses a candidate by "{ANY}".'
    )
    return Table("Broken outputs", ["set", "broken outputs", "baseline %", "candidate %", "growth"], rows, note)


def several_summary(comparisons: Mapping[str, Comparison], directory: str) -> str:
    """What recipes/compare.py prints of several candidates."""
    parts = [text_table(several_table(comparisons)), text_table(several_change_tables(comparisons)[-1])]
    by_column = _below_each_other({name: column_change_tables(one) for name, one in comparisons.items()})
    parts += [f"{table.title}\n{text_table(table)}\n{table.note}" for table in by_column]
    for name, comparison in comparisons.items():
        parts.append(f"{name}: {verdict_text(comparison.verdict)}")
        parts.extend(f"warning: {name}: {warning}" for warning in comparison.warnings)
    parts.append(correction_text(comparisons))
    first = next(iter(comparisons.values()))
    parts.append(f"normalizer {first.normalizer.name}; a report, and one for each candidate, in {directory}")
    return "\n\n".join(parts)


def several_table(comparisons: Mapping[str, Comparison]) -> Table:
    """Every candidate on every set, against the one baseline."""
    rows = []
    for candidate, comparison in comparisons.items():
        groups = dict(comparison.sets)
        if len(groups) > 1:
            groups[POOLED] = comparison.overall
        for name, group in groups.items():
            figures = _test_cells(group.test) if group.test else [ABSENT] * 5
            role = comparison.roles.get(name) or ""
            rows.append([candidate, name, role, str(group.num_utterances), group.metric.upper(), *figures])
    headers = ["candidate", "set", "role", "utterances", "metric", *_TEST_HEADERS]
    return Table("Candidates against the baseline", headers, rows, correction_text(comparisons))


def several_change_tables(comparisons: Mapping[str, Comparison]) -> list[Table]:
    """As `term_change_tables` and `output_table`, the candidates below each other."""
    return _below_each_other(
        {
            name: [*column_change_tables(one), *term_change_tables(one), *style_change_tables(one), output_table(one)]
            for name, one in comparisons.items()
        }
    )


def _below_each_other(of_each: Mapping[str, Sequence[Table]]) -> list[Table]:
    """Tables of one title as one, by candidate; a note that is not the same for all says whose it is."""
    merged = []
    for title in dict.fromkeys(one.title for tables in of_each.values() for one in tables):
        found = {name: one for name, tables in of_each.items() for one in tables if one.title == title}
        notes = {one.note for one in found.values()}
        note = notes.pop() if len(notes) == 1 else " ".join(f"{name}: {one.note}" for name, one in found.items())
        rows = [[name, *row] for name, one in found.items() for row in one.rows]
        merged.append(Table(title, ["candidate", *next(iter(found.values())).headers], rows, note))
    return merged


def correction_text(comparisons: Mapping[str, Comparison]) -> str:
    """What was done about testing several candidates."""
    number_of, alpha = len(comparisons), next(iter(comparisons.values())).gate.alpha
    return (
        f"{number_of} candidates: each is tested, and its gate judged, at alpha {number_of * alpha:g} / {number_of} = "
        f"{alpha:.4g} (Bonferroni); two-sided intervals and one-sided bounds hold with {100 * (1 - alpha):.4g} %. "
        "Candidates are not tested against each other."
    )


def _test_cells(test: PairedTest) -> list[str]:
    """Baseline, candidate, difference, interval, p."""
    return [
        number(test.baseline_percent),
        number(test.candidate_percent),
        f"{test.delta_percent:+z.2f}" + (" *" if test.p_value < 1 - test.interval.confidence else ""),
        f"{test.interval.low_percent:+z.2f} to {test.interval.high_percent:+z.2f}",
        p_text(test.p_value),
    ]
