"""Owns how errors grow with noise: a table and a picture of a noise suite, error rate by signal-to-noise ratio.

Input: a `ScoredRun` whose sets carry the names that `Condition.set_name` gives. Output: a `Placement`, or none.
"""

from qasr_train.evaluation.report.plots import NoiseLine, noise_plot
from qasr_train.evaluation.report.published import Placement
from qasr_train.evaluation.scoring.metrics import GroupScore
from qasr_train.evaluation.scoring.score import ScoredRun
from qasr_train.evaluation.suites.noise import parse_set_name
from qasr_train.pages.table import ABSENT, Table, number

PLOT_LABEL = "error rate against noise"
Ratio = float | None  # decibels; None: no noise


def noise_placements(run: ScoredRun) -> list[Placement]:
    """One table and picture of all sets that stand under several conditions; [] where there is none."""
    by_set: dict[str, dict[Ratio, GroupScore]] = {}
    for name, group in run.sets.items():
        parsed = parse_set_name(name)
        if parsed is not None:
            base, snr_db, has_room = parsed
            by_set.setdefault(f"{base}, in a room" if has_room else base, {})[snr_db] = group
    by_set = {name: groups for name, groups in by_set.items() if len(groups) > 1}
    if not by_set:
        return []
    ratios = sorted({ratio for groups in by_set.values() for ratio in groups if ratio is not None}, reverse=True)
    headers = ["", "no noise", *(f"{ratio:g} dB" for ratio in ratios)]
    rows = [[name, *(_cell(groups.get(ratio)) for ratio in (None, *ratios))] for name, groups in by_set.items()]
    metrics = sorted({group.primary_metric.upper() for groups in by_set.values() for group in groups.values()})
    title = f"{' or '.join(metrics)} in percent by signal-to-noise ratio"
    note = "The same clips in every column, with the same stretch of the same noise; intervals stand in the table of results."
    lines = [
        NoiseLine(name, [(ratio, group.primary_percent, group.primary_interval) for ratio, group in groups.items()])
        for name, groups in by_set.items()
    ]
    return [Placement(Table(title, headers, rows, note), noise_plot(lines, title), PLOT_LABEL)]


def _cell(group: GroupScore | None) -> str:
    return ABSENT if group is None else number(group.primary_percent)
