"""Loader workers: what they find wrong arrives as one sentence, and so does their death."""

import os
import signal
from pathlib import Path

import pytest
from torch.multiprocessing import active_children

from qasr_train.augment.variants import NO_AUDIO, Variant, vary
from qasr_train.data.workers import PlannedBatches, explain_dead_workers, make_loader
from qasr_train.errors import DataError, TrainingError
from qasr_train.manifest import Utterance
from qasr_train.models.qwen3_asr.collator import Qwen3ASRCollator
from qasr_train.sources.table import Joined
from tests.helpers import tone, utterance, write_wav
from tests.helpers_model import tiny_processor


@pytest.fixture(scope="module")
def collator() -> Qwen3ASRCollator:
    return Qwen3ASRCollator(tiny_processor())


@pytest.fixture
def rows(tmp_path: Path) -> list[Utterance]:
    path = str(write_wav(tmp_path / "a.wav", tone(0.5)))
    return [utterance(id=f"u{i}", audio=path, origin=f"train.jsonl:{i}") for i in range(40)]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_row_that_cannot_be_taught_is_one_sentence_from_a_worker_too(rows, collator, num_workers: int):
    rows[1] = utterance(id="bad", audio=rows[1].audio, text="a <asr_text> b", origin="train.jsonl:1")
    loader = make_loader(PlannedBatches(rows, [[0], [1]], collator), num_workers=num_workers, prefetch_batches=1)
    assert next(loader).batch.ids == ["u0"]
    with pytest.raises(DataError) as caught:
        next(loader)
    assert str(caught.value) == "train.jsonl:1: utterance 'bad' holds <asr_text> in its transcript; remove it"


def test_a_killed_worker_is_one_sentence(rows, collator):
    plan = [[i] for i in range(len(rows))]
    loader = make_loader(PlannedBatches(rows, plan, collator), num_workers=1, prefetch_batches=1)
    with pytest.raises(TrainingError) as caught, explain_dead_workers():
        next(loader)
        [worker] = active_children()
        os.kill(worker.pid, signal.SIGKILL)
        list(loader)
    # Which of the two torch says depends on what it notices first.
    said = str(caught.value).replace("killed by signal: Killed", "exited unexpectedly")
    assert said == (
        "a loader worker died (exited unexpectedly), most often because memory ran out; free memory, lower "
        "data.num_workers, data.prefetch_batches or data.batch_seconds, and go on with resume=true"
    )


def test_full_shared_memory_has_advice_of_its_own():
    message = (
        "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's workers are out of "
        "shared memory. Please try to raise your shared memory limit."
    )
    with pytest.raises(TrainingError, match="Bus error.*--shm-size"), explain_dead_workers():
        raise RuntimeError(message)


def test_other_errors_pass(rows):
    with pytest.raises(RuntimeError, match="^another$"), explain_dead_workers():
        raise RuntimeError("another")


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_batch_knows_the_source_of_each_row_also_where_a_clip_fails(rows, collator, num_workers: int):
    gone = utterance(id="gone", audio="gone.wav")
    silence = Variant(id="silence", audio=NO_AUDIO, text="", duration_s=0.5, is_silence=True)
    joined = Joined([rows[:2], [], [gone, vary(rows[2], speed=1.1), silence]], ["target", "empty", "replay"])
    planned = PlannedBatches(joined, [[2, 3, 0], [4, 1]], collator)
    first, second = make_loader(planned, num_workers=num_workers, prefetch_batches=1)
    assert [one.id for one in first.failed] == ["gone"]
    assert (first.batch.ids, first.batch.sources) == (["u2", "u0"], ["replay", "target"])
    assert (second.batch.ids, second.batch.sources) == (
        ["silence", "u1"],
        ["", "target"],
    )  # silence is added, not recorded
