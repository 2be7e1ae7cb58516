"""Owns dividing utterances into train, dev and test, and finding what two splits share that they should not.

Input: utterances with measured durations, and the digest of each recording. Output: a split for each; `Overlap` of two splits.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import Enum

from qasr_train.errors import DataError
from qasr_train.manifest import Utterance


class SplitBy(str, Enum):
    """What stays together when a corpus is divided."""

    speaker = "speaker"
    utterance = "utterance"


def assign_splits(
    utterances: Sequence[Utterance],
    digests: Sequence[str],
    *,
    dev_fraction: float,
    test_fraction: float,
    by: SplitBy,
    seed: int,
) -> list[str]:
    """A split for every utterance: its own where it states one, else drawn by hours.

    Recordings of the same sound stay together, with `by` speaker also all clips of a speaker; a speaker who stands in a
    stated split stays in it, and clips without a speaker go to train. The order groups are drawn in depends on seed and
    names alone, not on the order of rows.

    Raises:
        DataError: too few speakers (or clips) to give every split one.
    """
    groups = _groups(utterances, digests, by)
    stated, free = _stated_and_free(utterances, groups)
    wanted = {"test": test_fraction, "dev": dev_fraction}
    drawn_names = [name for name, fraction in wanted.items() if fraction > 0]
    if free:
        what = "speakers" if by is SplitBy.speaker else "clips"
        drawable = [g for g in free if by is SplitBy.utterance or utterances[groups[g][0]].speaker is not None]
        if len(drawable) <= len(drawn_names):
            raise DataError(
                f"split.by={by.value}: {len(drawable)} {what} cannot be divided into {len(drawn_names) + 1} splits; "
                + ("set split.by=utterance, or name more speakers" if by is SplitBy.speaker else "give more clips")
            )
        drawable.sort(key=lambda g: _draw(seed, g))
        _draw_splits(drawable, groups, utterances, {name: wanted[name] for name in drawn_names}, stated)
    group_of = {i: name for name, group in groups.items() for i in group}
    return [utterance.split or stated.get(group_of[i], "train") for i, utterance in enumerate(utterances)]


def _groups(utterances: Sequence[Utterance], digests: Sequence[str], by: SplitBy) -> dict[str, list[int]]:
    """Name of a group -> the utterances that must stay together; the name is that of its first speaker or id by alphabet."""
    parent = list(range(len(utterances)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[Hashable, int] = {}
    for i, (utterance, digest) in enumerate(zip(utterances, digests, strict=True)):
        ties: list[Hashable] = [("digest", digest)]
        if by is SplitBy.speaker and utterance.speaker is not None:
            ties.append(("speaker", utterance.speaker))
        for tie in ties:
            parent[root(i)] = root(first.setdefault(tie, i))
    members: dict[int, list[int]] = defaultdict(list)
    for i in range(len(utterances)):
        members[root(i)].append(i)
    return {min(_name(utterances[i], by) for i in group): group for group in members.values()}


def _name(utterance: Utterance, by: SplitBy) -> str:
    return (
        f"speaker {utterance.speaker}" if by is SplitBy.speaker and utterance.speaker else f"utterance {utterance.id}"
    )


def _draw(seed: int, name: str) -> str:
    return hashlib.sha1(f"{seed}:{name}".encode()).hexdigest()


def _stated_and_free(utterances: Sequence[Utterance], groups: dict[str, list[int]]) -> tuple[dict[str, str], list[str]]:
    """(group -> split most of its stating members are in, groups of which no member states one)."""
    stated: dict[str, str] = {}
    free: list[str] = []
    for name, group in groups.items():
        splits = Counter(split for i in group if (split := utterances[i].split) is not None)
        if splits:
            stated[name] = splits.most_common(1)[0][0]
        else:
            free.append(name)
    return stated, free


def _draw_splits(
    drawable: list[str],
    groups: dict[str, list[int]],
    utterances: Sequence[Utterance],
    fractions: dict[str, float],
    chosen: dict[str, str],
) -> None:
    """Fill `chosen` group by group: each split takes the next that still fits its share, and at least one.

    A group fits if it overshoots the share by no more than half; so one long speaker does not make half the corpus a test.
    """
    seconds = {g: sum(utterances[i].duration_s or 0.0 for i in groups[g]) for g in drawable}
    total_s = sum(seconds.values())
    left = list(drawable)
    for split, fraction in fractions.items():
        taken_s, target_s = 0.0, fraction * total_s
        for group in list(left):
            if taken_s >= target_s:
                break
            if taken_s + seconds[group] <= 1.5 * target_s:
                chosen[group] = split
                taken_s += seconds[group]
                left.remove(group)
        if taken_s == 0.0:
            smallest = min(left, key=lambda g: seconds[g])
            chosen[smallest] = split
            left.remove(smallest)


@dataclass(frozen=True)
class Overlap:
    """What two splits share. `of` is the smaller one, looked up in `within`.

    num_shared_audio: clips of `of` whose sound is in `within` too, shared_audio_ids: the first few of them.
    shared_speakers: in both. shared_text_fraction: share of the clips of `of` whose text, without case and punctuation,
    is a text of `within`.
    """

    of: str
    within: str
    num_shared_audio: int
    shared_audio_ids: list[str]
    shared_speakers: list[str]
    shared_text_fraction: float


_MAX_LISTED = 20


def find_overlaps(utterances: Sequence[Utterance], digests: Sequence[str]) -> list[Overlap]:
    """What each pair of splits shares; the split with fewer clips is looked up in the other."""
    by_split: dict[str, list[int]] = defaultdict(list)
    for i, utterance in enumerate(utterances):
        if utterance.split is not None:
            by_split[utterance.split].append(i)
    ordered = sorted(by_split, key=lambda split: (len(by_split[split]), split))
    return [
        _overlap(small, large, by_split, utterances, digests)
        for position, small in enumerate(ordered)
        for large in ordered[position + 1 :]
    ]


def _overlap(
    small: str, large: str, by_split: dict[str, list[int]], utterances: Sequence[Utterance], digests: Sequence[str]
) -> Overlap:
    large_digests = {digests[i] for i in by_split[large]}
    large_texts = {_plain(utterances[i].text) for i in by_split[large]}
    shared_ids = [utterances[i].id for i in by_split[small] if digests[i] in large_digests]
    num_shared_texts = sum(_plain(utterances[i].text) in large_texts for i in by_split[small])
    speakers = [{utterances[i].speaker for i in by_split[split]} - {None} for split in (small, large)]
    return Overlap(
        of=small,
        within=large,
        num_shared_audio=len(shared_ids),
        shared_audio_ids=shared_ids[:_MAX_LISTED],
        shared_speakers=sorted(s for s in speakers[0] & speakers[1] if s is not None),
        shared_text_fraction=num_shared_texts / len(by_split[small]),
    )


def _plain(text: str | None) -> str:
    return " ".join(re.sub(r"[^\w\s]", "", (text or "").lower()).split())
