"""Owns the simulation behind evaluation/columns/spread.py: how often groups that do not differ are told apart at 5 %.

    python scripts/bench/coverage_groups.py [--runs 1000] [--seed 0]

Speakers differ (log sd of their error rates), so do utterances, of 5 to 20 words. Either each speaker is of one group, or
speakers are in all groups, which suit them unequally (log sd). Output: tables in Markdown, percent of runs in which p is below
5 %: with utterances dealt out as if they were independent, as the product does it, and that any group is said to be worse than
the others; then, of groups of which one is worse, how often that is seen. Of 1000 runs a share of 5 %
has a standard error of 0.7 points.
"""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from qasr_train.evaluation.columns import spread
from qasr_train.evaluation.scoring.significance import ResampleBy, independent_units

NUM_DRAWS = 399  # the product takes 4999; a p below 5 % is as likely with fewer
UTTERANCE_SD = 0.5


@dataclass(frozen=True)
class World:
    """Where sets are drawn from.

    speakers: of each group; where speakers are in all groups, their number alone. own_sd, shared_sd: log sd of a speaker's rate,
    and of what a group does to it. size_sd: log sd of how many utterances a speaker has. worse: times the first group's rate.
    group_sds: other log sd of speakers by group. num_sets: sets of other difficulty, whose speakers are dealt unevenly to groups.
    """

    name: str
    speakers: tuple[int, ...]
    num_groups: int = 0
    own_sd: float = 0.5
    shared_sd: float = 0.5
    size_sd: float = 0.0
    rate: float = 0.1
    utterances: int = 40
    worse: float = 1.0
    group_sds: tuple[float, ...] = ()
    num_sets: int = 1

    def draw(self, rng):
        """Errors, lengths, groups, speakers, sets, each (utterances,)."""
        num_speakers, is_nested = sum(self.speakers), not self.num_groups
        sizes = np.maximum(1, self.utterances * np.exp(self.size_sd * rng.standard_normal(num_speakers))).astype(int)
        speaker = np.repeat(np.arange(num_speakers), sizes)
        lengths = rng.integers(5, 21, len(speaker))
        of_speaker = np.repeat(np.arange(len(self.speakers)), self.speakers)
        sds = np.asarray(self.group_sds)[of_speaker] if self.group_sds else np.full(num_speakers, self.own_sd)
        logs = (sds * rng.standard_normal(num_speakers) - sds**2 / 2)[speaker]
        if is_nested:
            group = of_speaker[speaker]
        else:
            group = rng.integers(0, self.num_groups, len(speaker))
            suits = self.shared_sd * rng.standard_normal((num_speakers, self.num_groups)) - self.shared_sd**2 / 2
            logs = logs + suits[speaker, group]
        # The later a group, the more of its speakers are in the harder sets.
        one_set = (np.arange(num_speakers) * self.num_sets // num_speakers)[speaker]
        if self.num_sets > 1:
            swapped = rng.random(num_speakers) < 0.3
            one_set = np.where(swapped[speaker], rng.integers(0, self.num_sets, num_speakers)[speaker], one_set)
        logs = logs + UTTERANCE_SD * rng.standard_normal(len(speaker)) - UTTERANCE_SD**2 / 2 + one_set
        rates = np.minimum(0.95, self.rate * np.exp(logs) * np.where(group == 0, self.worse, 1.0))
        return rng.binomial(lengths, rates), lengths, group, speaker, one_set


def worlds():
    for speakers in ((3,) * 4, (5, 5), (8,) * 4, (3, 5, 22), (2, 2, 12), (30, 30)):
        yield World(f"{', '.join(map(str, speakers))} speakers", speakers)
    yield World("8, 8, 8, 8, log sd 1", (8,) * 4, own_sd=1.0)
    yield World("8, 8, 8, 8, unequal sizes", (8,) * 4, size_sd=1.0)
    yield World("3, 5, 22, unequal sizes", (3, 5, 22), size_sd=1.0)
    yield World("8, 8, 8, 8, rate 0.3 %", (8,) * 4, rate=0.003)
    yield World("10, 10, 10, three sets", (10, 10, 10), num_sets=3, rate=0.03)
    yield World("15 alike, 15 unlike (log sd 0.3, 1)", (15, 15), group_sds=(0.3, 1.0))
    yield World("5 unlike, 25 alike (log sd 1, 0.3)", (5, 25), group_sds=(1.0, 0.3))
    yield World("100, 100 utterances, no speakers", (100, 100), own_sd=0.3, utterances=1)
    yield World("6 speakers in 2 groups", (6,), num_groups=2)
    yield World("9 speakers in 4 groups", (9,), num_groups=4)
    yield World("30 speakers in 4 groups", (30,), num_groups=4)
    yield World("30 speakers in 7 groups, unequal sizes", (30,), num_groups=7, size_sd=1.0)
    yield World("9 speakers in 4 groups, rate 0.3 %", (9,), num_groups=4, rate=0.003)


def worse_worlds():
    for times in (1.5, 2.0):
        yield World(f"5, 5, 5, 5 speakers, one group {times:g} times", (5,) * 4, worse=times)
        yield World(f"10, 10, 10, 10 speakers, one group {times:g} times", (10,) * 4, worse=times)
        yield World(f"30 speakers in 4 groups, one {times:g} times", (30,), num_groups=4, worse=times)


def shares(world, runs, rng):
    """Method -> percent of runs in which groups are told apart."""
    found = []
    for _ in range(runs):
        errors, lengths, group, speaker, one_set = world.draw(rng)
        names = [f"p{one}" for one in speaker] if world.utterances > 1 else [None] * len(speaker)
        arguments = (errors, lengths), [f"g{one}" for one in group]
        as_used = spread.spread_test(*arguments, independent_units(names), list(one_set))
        row = {"**spread**": as_used.p_value, "**a group is worse**": min(as_used.worse.values(), default=1.0)}
        if len(found) < runs // 10:  # costs more, and is far off
            units = independent_units(names, ResampleBy.utterance)
            row["utterances"] = spread.spread_test(*arguments, units, list(one_set)).p_value
        found.append(row)
    return {
        name: 100 * np.mean([row[name] < 0.05 for row in found if name in row])
        for name in ("utterances", "**spread**", "**a group is worse**")
    }


def table(title, rows):
    names = list(next(iter(rows.values())))
    print(f"\n{title}\n\n| | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for name, row in rows.items():
        print(f"| {name} | {' | '.join(f'{row[one]:.1f}' for one in names)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=1000, help="sets drawn per row")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    spread.MOST_DRAWS = spread.LEAST_DRAWS = NUM_DRAWS
    rng = np.random.default_rng(arguments.seed)
    table("False alarms at 5 %", {one.name: shares(one, arguments.runs, rng) for one in worlds()})
    table("Of groups of which one is worse", {one.name: shares(one, arguments.runs, rng) for one in worse_worlds()})
    print(f"\n{arguments.runs} runs a row, seed {arguments.seed}, {time.process_time():.0f} s of CPU")


if __name__ == "__main__":
    main()
