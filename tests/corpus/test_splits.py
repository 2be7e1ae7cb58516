"""Dividing a corpus: speakers and sounds stay together, shares are met, overlaps are found."""

from typing import Any

import pytest

from qasr_train.corpus.splits import SplitBy, assign_splits, find_overlaps
from qasr_train.errors import DataError
from qasr_train.manifest import Utterance
from tests.helpers import utterance


def people(num_speakers: int, num_clips: int, **fields: Any) -> list[Utterance]:
    """Clips of one second, `num_clips` for each speaker."""
    return [
        utterance(id=f"{s}-{c}", speaker=f"speaker {s}", split=None, **fields)
        for s in range(num_speakers)
        for c in range(num_clips)
    ]


def split_of(utterances: list[Utterance], digests: list[str] | None = None, **settings: Any) -> dict[str, str]:
    """Id -> split."""
    digests = digests or [u.id for u in utterances]
    defaults = {"dev_fraction": 0.1, "test_fraction": 0.2, "by": SplitBy.speaker, "seed": 0}
    splits = assign_splits(utterances, digests, **{**defaults, **settings})
    return {u.id: split for u, split in zip(utterances, splits, strict=True)}


def test_no_speaker_stands_in_two_splits_and_the_shares_are_met() -> None:
    utterances = people(20, 5)
    splits = split_of(utterances)
    for speaker in {u.speaker for u in utterances}:
        assert len({splits[u.id] for u in utterances if u.speaker == speaker}) == 1
    counts = {name: list(splits.values()).count(name) for name in ("train", "dev", "test")}
    assert counts == {"test": 20, "dev": 10, "train": 70}  # of 100 clips of a second: 0.2, 0.1 and the rest


def test_the_division_depends_on_the_seed_but_not_on_the_order() -> None:
    utterances = people(20, 5)
    assert split_of(list(reversed(utterances))) == split_of(utterances)
    assert split_of(utterances, seed=1) != split_of(utterances)


def test_a_long_speaker_does_not_become_the_test_set() -> None:
    long = [utterance(id=f"long-{c}", speaker="long", split=None) for c in range(900)]
    for seed in range(5):
        splits = split_of(people(10, 10) + long, seed=seed, test_fraction=0.05, dev_fraction=0.05)
        assert splits["long-0"] == "train"
        assert {"train", "dev", "test"} == set(splits.values())


def test_the_same_sound_stays_in_one_split_whoever_speaks() -> None:
    utterances = people(20, 5)
    digests = ["shared" if u.id in ("3-0", "11-0", "17-4") else u.id for u in utterances]
    for by in SplitBy:
        splits = split_of(utterances, digests, by=by)
        assert len({splits[name] for name in ("3-0", "11-0", "17-4")}) == 1


def test_stated_splits_win_and_pull_their_speaker_with_them() -> None:
    utterances = [*people(10, 3), utterance(id="stated", speaker="speaker 4", split="test")]
    splits = split_of(utterances)
    assert splits["stated"] == "test"
    assert {splits[f"4-{c}"] for c in range(3)} == {"test"}


def test_clips_without_a_speaker_go_to_train() -> None:
    utterances = [*people(6, 3), utterance(id="nobody", speaker=None, split=None)]
    for seed in range(8):
        assert split_of(utterances, seed=seed)["nobody"] == "train"


def test_too_few_speakers_are_refused() -> None:
    with pytest.raises(DataError, match=r"split.by=speaker: 2 speakers cannot be divided into 3 splits; set split.by"):
        split_of(people(2, 50))
    assert set(split_of(people(2, 50), by=SplitBy.utterance).values()) == {"train", "dev", "test"}


def test_overlaps_of_splits_are_found() -> None:
    train = [utterance(id=f"a{i}", speaker=f"s{i}", split="train", text=f"Line {i}.") for i in range(4)]
    test = [
        utterance(id="t0", speaker="s1", split="test", text="line 2"),
        utterance(id="t1", speaker="new", split="test", text="unheard"),
    ]
    (overlap,) = find_overlaps(train + test, ["d0", "d1", "d2", "d3", "d3", "new"])
    assert (overlap.of, overlap.within) == ("test", "train")
    assert (overlap.num_shared_audio, overlap.shared_audio_ids) == (1, ["t0"])
    assert overlap.shared_speakers == ["s1"]
    assert overlap.shared_text_fraction == 0.5
