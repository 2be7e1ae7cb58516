"""The processes that share a run, and how many of them may be asked for."""

from typing import Any

import pytest

from qasr_train.corpus.pool import check_all
from qasr_train.data.buckets import BatchBudget
from qasr_train.data.workers import make_loader
from qasr_train.errors import ConfigError
from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.models.settings import Engine
from qasr_train.run.processes import check_num_workers
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction
from qasr_train.transcription.prompts import PromptForm
from qasr_train.transcription.settings import Decoding, LongAudio


@pytest.mark.parametrize("bad", [-1, 1.5, "two", None, True])
def test_a_bad_number_of_workers_is_a_sentence_wherever_one_is_asked_for(bad: Any) -> None:
    decoding = {
        "language": "auto",
        "use_context": True,
        "prompt": PromptForm.own,
        "long_audio": LongAudio.split,
        "overlap_s": 1.0,
        "budget": BatchBudget(60.0, None),
        "max_duration_s": 60.0,
        "max_new_tokens": None,
        "engine": Engine.auto,
        "max_failed_fraction": 0.0,
    }
    rows = [Prediction(None, 1.0, None, "a", "a", id="u", set="s")]
    calls = [
        lambda: list(check_all([], num_workers=bad)),
        lambda: list(make_loader([], num_workers=bad, prefetch_batches=2)),  # type: ignore[arg-type]
        lambda: Decoding(**decoding, num_workers=bad),
        lambda: score_predictions(rows, get_normalizer("none"), num_workers=bad),
    ]
    for call in calls:
        with pytest.raises(ConfigError, match=r"num_workers=.*: expected a whole number, at least [01]$"):
            call()


def test_none_but_this_process_is_a_number_where_that_is_offered() -> None:
    check_num_workers(0, at_least=0)
    check_num_workers(1)
    with pytest.raises(ConfigError, match="num_workers=0: expected a whole number, at least 1"):
        check_num_workers(0)
