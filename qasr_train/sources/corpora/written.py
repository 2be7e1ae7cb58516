"""Owns a corpus written in the layouts of other tools, split by split.

Input: utterances with paths that are found from anywhere. Output: kaldi/SPLIT/ and lhotse/cuts_SPLIT.jsonl.gz in a folder.
"""

from collections.abc import Sequence
from enum import Enum
from pathlib import Path

from qasr_train.manifest import Utterance
from qasr_train.sources.corpora.kaldi import write_kaldi
from qasr_train.sources.corpora.lhotse import write_cuts

NO_SPLIT = "all"  # what utterances that name no split are called


class Layout(str, Enum):
    """What else a corpus is written as."""

    kaldi = "kaldi"  # wav.scp, segments, text, utt2spk, spk2utt, utt2lang
    lhotse = "lhotse"  # cuts with recording and supervision


def write_layouts(folder: Path, utterances: Sequence[Utterance], layouts: Sequence[Layout]) -> list[Path]:
    """Write the utterances of each split in each layout; returns what was written.

    Raises:
        DataError: an utterance has no text, or no file of its own.
    """
    splits: dict[str, list[Utterance]] = {}
    for one in utterances:
        splits.setdefault(one.split or NO_SPLIT, []).append(one)
    written = []
    for split, own in splits.items():
        if Layout.kaldi in layouts:
            written.append(folder / "kaldi" / split)
            write_kaldi(written[-1], own)
        if Layout.lhotse in layouts:
            written.append(folder / "lhotse" / f"cuts_{split}.jsonl.gz")
            write_cuts(written[-1], own)
    return written
