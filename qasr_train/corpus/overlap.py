"""Owns what a corpus shares with test sets that stand elsewhere: the same sound, or a run of words of their texts.

Input: clips of the corpus, and of named test sets. Output: `SharedClip`s, each with its sentence; a `TestIndex` to look up in.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from qasr_train.corpus.clips import Clip
from qasr_train.corpus.findings import Finding, Severity
from qasr_train.corpus.runs_of_words import NGRAM, ngram_hashes, plain_words
from qasr_train.corpus.summary import Reject

TEST_SPLIT = "test"  # rows of it are no training data
_MAX_LISTED = 20


class SharedBy(str, Enum):
    """What of a test clip a training clip must not have."""

    audio = "audio"
    text = "text"


@dataclass(frozen=True, slots=True)
class SharedClip:
    """A clip of the corpus that is in a test set, as the clip test_id. by: its sound, or a run of words, given in `words`."""

    clip: Clip
    test_set: str
    test_id: str
    by: SharedBy
    words: str = ""

    def reason(self) -> str:
        """For rejects.jsonl."""
        if self.by is SharedBy.audio:
            return f"stands in test set {self.test_set!r} by its sound ({self.test_id})"
        return f"stands in test set {self.test_set!r} by a run of its words ({self.test_id}: {self.words})"


@dataclass(frozen=True)
class TestIndex:
    """Sounds and runs of words of test sets -> (set, id) of the first test clip that has them. num_words: of a run."""

    by: Sequence[SharedBy] = tuple(SharedBy)
    num_words: int = NGRAM
    sounds: dict[str, tuple[str, str]] = field(default_factory=dict)
    runs: dict[int, tuple[str, str]] = field(default_factory=dict)

    def add(self, name: str, clips: Iterable[Clip]) -> None:
        """The clips of a test set."""
        for clip in clips:
            where = name, clip.utterance.id
            self.sounds.setdefault(clip.digest, where)
            for run in ngram_hashes(plain_words(clip.utterance), self.num_words):
                self.runs.setdefault(run, where)

    def find(self, clip: Clip) -> SharedClip | None:
        """What the clip shares; its sound before its words."""
        if SharedBy.audio in self.by and (found := self.sounds.get(clip.digest)):
            return SharedClip(clip, *found, SharedBy.audio)
        words = plain_words(clip.utterance) if SharedBy.text in self.by else []
        for start, run in enumerate(ngram_hashes(words, self.num_words)):
            if found := self.runs.get(run):
                return SharedClip(clip, *found, SharedBy.text, " ".join(words[start : start + self.num_words]))
        return None


def find_shared(clips: Sequence[Clip], index: TestIndex) -> tuple[list[Clip], list[SharedClip]]:
    """(clips that share nothing, the others); rows of the split test are not looked at, as nobody trains on them."""
    kept, shared = [], []
    for clip in clips:
        found = None if clip.utterance.split == TEST_SPLIT else index.find(clip)
        if found is None:
            kept.append(clip)
        else:
            shared.append(found)
    return kept, shared


def shared_rejects(shared: Sequence[SharedClip]) -> list[Reject]:
    """As rejects.jsonl has them."""
    return [Reject.of(one.clip.utterance, one.reason()) for one in shared]


def shared_findings(shared: Sequence[SharedClip], num_test_clips: Mapping[str, int]) -> list[Finding]:
    """A finding a test set: a leak where clips of it stand in the corpus, else that none does."""
    by_set: dict[str, list[SharedClip]] = defaultdict(list)
    for one in shared:
        by_set[one.test_set].append(one)
    return [_finding(name, number, by_set[name]) for name, number in num_test_clips.items()]


def _finding(name: str, num_test_clips: int, shared: Sequence[SharedClip]) -> Finding:
    if not shared:
        return Finding(Severity.FACT, f"nothing is shared with test set {name!r} ({num_test_clips} clips)")
    counts, first = Counter(one.by for one in shared), shared[0]
    text = (
        f"LEAK: {len(shared)} clips stand in test set {name!r} ({num_test_clips} clips): {counts[SharedBy.audio]} by their "
        f"sound, {counts[SharedBy.text]} by a run of words (e.g. {first.clip.utterance.id}: {first.test_id})"
    )
    return Finding(Severity.LEAK, text, [one.clip.utterance.id for one in shared[:_MAX_LISTED]], len(shared))
