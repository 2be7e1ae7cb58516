"""Runs the evaluation job with a model that looks transcripts up: `python -m tests.transcription.fake_job key=value ...`.

Every transcript names its utterance and its companions, so that a run with other batches is told apart. FAKE_KILL_AFTER=N in
the environment ends the process by SIGKILL in batch N + 1; FAKE_STOP_AFTER=N by SIGINT, as Ctrl-C does.
"""

import os
import signal
import sys
from typing import Any

from qasr_train.batch import Batch
from qasr_train.config.command_line import run_recipe
from qasr_train.jobs.recipes import PROJECT
from qasr_train.models.base import Hypothesis
from qasr_train.transcription import run as transcription
from tests.helpers_fake_model import FakeModel

_SIGNALS = {"FAKE_KILL_AFTER": signal.SIGKILL, "FAKE_STOP_AFTER": signal.SIGINT}


class NamingModel(FakeModel):
    """Says who was in the batch; ends the process where the environment says so."""

    num_batches = 0

    def transcribe(self, batch: Batch, *, max_new_tokens: int) -> list[Hypothesis]:
        for variable, number in _SIGNALS.items():
            if self.num_batches == int(os.environ.get(variable, "-1")):
                os.kill(os.getpid(), number)
        NamingModel.num_batches += 1
        self.texts = {one: f"{one} of {' '.join(sorted(batch.ids))}" for one in batch.ids}
        return super().transcribe(batch, max_new_tokens=max_new_tokens)


def load_fake(config: Any, **_: Any) -> NamingModel:
    """In place of `load_model`."""
    return NamingModel()


if __name__ == "__main__":
    transcription.load_model = load_fake  # type: ignore[assignment]
    sys.argv[0] = "recipes/evaluate.py"
    run_recipe("evaluate", PROJECT)
