"""Clips that cannot be read are listed by each process, and too many of them stop a run."""

import json
from pathlib import Path

import pytest

from qasr_train.batch import FailedAudio
from qasr_train.data.unreadable import UnreadableAudio
from qasr_train.errors import DataError

GONE, TORN = FailedAudio("u1", "gone.wav: no such file"), FailedAudio("u2", "torn.wav: ends early")


def test_each_process_has_its_own_list(tmp_path: Path):
    first, second = (UnreadableAudio(tmp_path, 0.5, rank) for rank in (0, 1))
    first.append([])
    assert not list(tmp_path.iterdir())
    first.append([GONE])
    first.append([TORN])
    second.append([TORN])
    rows = [json.loads(line) for line in (tmp_path / "failed_audio.jsonl").read_text().splitlines()]
    assert rows == [{"id": "u1", "reason": GONE.reason}, {"id": "u2", "reason": TORN.reason}]
    assert [path.name for path in tmp_path.glob("*rank1*")] == ["failed_audio.rank1.jsonl"]


@pytest.mark.parametrize(
    ("num_failed", "num_read", "is_refused"),
    [(1, 1, False), (1, 50, False), (2, 50, True), (2, 200, False), (3, 200, True)],  # a hundredth, of 100 at least
)
def test_more_than_the_share_stops(tmp_path: Path, num_failed: int, num_read: int, is_refused: bool):
    policy = UnreadableAudio(tmp_path, 0.01, 0)
    if not is_refused:
        policy.refuse_too_many(num_failed, num_read, [TORN])
        return
    with pytest.raises(DataError) as error:
        policy.refuse_too_many(num_failed, num_read, [GONE, TORN])
    assert str(error.value) == (
        f"{num_failed} of {num_read} clips could not be read, over data.max_failed_fraction=0.01, the last: torn.wav: ends "
        f"early; see {tmp_path / 'failed_audio.jsonl'}"
    )
