"""Owns the transcription of sets by a model in one process or several: what is left, who does it, what is checked at the end.

Input: the sets, a `Decoding`, a model. Output: the partial predictions in a run directory, then predictions.jsonl.
"""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qasr_train.models.base import Recogniser
from qasr_train.run.processes import Processes
from qasr_train.transcription.journal import Journal, Key, Row, finish, gather_partials, read_partials
from qasr_train.transcription.plan import PlannedBatch, plan_transcription
from qasr_train.transcription.progress import CountErrors, Progress
from qasr_train.transcription.sets import UtteranceSet
from qasr_train.transcription.settings import Decoding
from qasr_train.transcription.transcribe import FailureCount, transcribe_batches

Plan = list[PlannedBatch]


class SharedTranscription:
    """What the processes of a run transcribe together. Plans are the same in every process and every try."""

    def __init__(self, sets: Sequence[UtteranceSet], decoding: Decoding, run_dir: Path, processes: Processes) -> None:
        """Plan all sets.

        Raises:
            DataError: a recording is too long where `long_audio` is "error".
        """
        self.sets, self.decoding, self.run_dir, self.processes = sets, decoding, run_dir, processes
        self.plans: list[Plan] = [plan_transcription(one.utterances, decoding) for one in sets]

    def transcribe(self, model: Recogniser, *, num_warmup_batches: int, count_errors: CountErrors) -> None:
        """Transcribe this process's share of what is missing; every batch is on disk before the next begins.

        Args:
            num_warmup_batches: transcribed first without taking time. count_errors: for the running WER beside the bar.

        Raises:
            ConfigError: the model cannot be told what the settings say. DataError: too many recordings cannot be read.
        """
        shares = self._shares()
        self._warm_up(model, num_warmup_batches)
        pending = [
            one.utterances[index]
            for one, share in zip(self.sets, shares, strict=True)
            for batch in share
            for index in batch.indices
        ]
        bar = Progress(
            len(pending),
            label="transcribe",
            is_shown=self.processes.is_main,
            count_errors=count_errors,
            total_s=None if any(u.duration_s is None for u in pending) else sum(u.duration_s or 0.0 for u in pending),
        )
        with Journal(self.run_dir, self.processes.rank) as journal, bar as progress:
            for one, share in zip(self.sets, shares, strict=True):
                failures = FailureCount(one.name, len(one.utterances), self.decoding.max_failed_fraction)
                for predictions in transcribe_batches(model, one, share, self.decoding):
                    journal.append(predictions)
                    progress.add(predictions)
                    failures.add(predictions)

    def check_failures(self) -> None:
        """Refuse a set of which all processes together failed on too much.

        Raises:
            DataError: names the set and the first reason; the transcripts stay for resume=true.
        """
        rows = read_partials(self.run_dir)
        for one in self.sets:
            count = FailureCount(one.name, len(one.utterances), self.decoding.max_failed_fraction)
            count.add_reasons([row["failed"] for (name, _), row in rows.items() if name == one.name and row["failed"]])

    def check_batch_invariance(self, model: Recogniser, num_utterances: int, seed: int) -> dict[str, Any]:
        """Transcribe a sample again, each utterance alone, and count whose text or language differs from its batch's.

        Only utterances that had companions are drawn, from what all processes transcribed; each process does its share of
        them, on its own device. Where a family has no limit of new tokens for each row, that of the clip alone holds here,
        so that a repetition loop may show too. All processes must call it.

        Returns:
            {"num_checked", "num_different", "different": [{"set", "id", "in_batch", "alone"}]}
        """
        rows = read_partials(self.run_dir)
        candidates = [
            (one, PlannedBatch([index], batch.language))
            for one, plan in zip(self.sets, self.plans, strict=True)
            for batch in plan
            if len(batch.indices) > 1
            for index in batch.indices
            if not rows[_key(one, index)]["failed"]
        ]
        chosen = random.Random(seed).sample(candidates, min(num_utterances, len(candidates)))
        different = []
        for one, alone in self.processes.share(chosen):
            [[prediction]] = transcribe_batches(model, one, [alone], self.decoding)
            row = rows[one.name, prediction.id]
            if (row["pred_text"], row["predicted_language"]) != (prediction.pred_text, prediction.predicted_language):
                texts = {"in_batch": row["pred_text"], "alone": prediction.pred_text}
                different.append({"set": one.name, "id": prediction.id, **texts})
        different = self.processes.gather(different)
        return {"num_checked": len(chosen), "num_different": len(different), "different": different}

    def finish(self) -> None:
        """Write predictions.jsonl, in the order of the sets and of their manifests, and remove the partial files."""
        finish(self.run_dir, [_key(one, index) for one in self.sets for index in range(len(one.utterances))])

    def _shares(self) -> list[Plan]:
        """For each set the batches this process is to transcribe: every n-th of those still missing."""
        if self.processes.is_main:
            gather_partials(self.run_dir)
        self.processes.wait()
        done = read_partials(self.run_dir)
        self.processes.wait()  # nobody writes before all have read
        return [
            list(self.processes.share(_missing(one, plan, done)))
            for one, plan in zip(self.sets, self.plans, strict=True)
        ]

    def _warm_up(self, model: Recogniser, num_batches: int) -> None:
        """Transcribe some batches of the first set, from the longest to the shortest, and throw the result away."""
        plan = self.plans[0]
        stride = max(1, len(plan) // max(1, num_batches))
        for _ in transcribe_batches(model, self.sets[0], plan[::stride][:num_batches], self.decoding):
            pass


def _missing(one: UtteranceSet, plan: Plan, done: dict[Key, Row]) -> Plan:
    """What is left of a plan. A batch cut short is done again whole, so that an utterance keeps its companions; of a
    finished one those that failed are tried again, because what made them fail may be mended."""
    missing = []
    for batch in plan:
        rows = [done.get(_key(one, index)) for index in batch.indices]
        if any(row is None for row in rows):
            missing.append(batch)
        elif failed := [index for index, row in zip(batch.indices, rows, strict=True) if row and row["failed"]]:
            missing.append(PlannedBatch(failed, batch.language))
    return missing


def _key(one: UtteranceSet, index: int) -> Key:
    return one.name, one.utterances[index].id
