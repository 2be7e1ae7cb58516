"""Owns a transcription in a run directory: claimed or gone on with, checked to be the same run, safe from a kill at any moment.

Input: the settings of a job, its sets, the machine. Output: predictions.jsonl in the order of the sets, partial predictions until
then, and in run.json what made them. Under `accelerate launch` the processes share the batches; the result is that of one.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from qasr_train.errors import ConfigError, UserError
from qasr_train.models.base import KnowsOrigin
from qasr_train.models.digest import checkpoint_digest
from qasr_train.models.families import find_family, load_model
from qasr_train.run.device import Machine
from qasr_train.run.directory import (
    check_same_config,
    claim_run_dir,
    read_run,
    record_in_run,
    release_if_unused,
    save_provenance,
    unlock_run_dir,
)
from qasr_train.transcription.command import run_command
from qasr_train.transcription.journal import discard_if_nothing_done, read_partials
from qasr_train.transcription.predictions import PREDICTIONS, PredictionSet, load_predictions
from qasr_train.transcription.progress import CountErrors
from qasr_train.transcription.prompts import refuse_lost_contexts
from qasr_train.transcription.sets import UtteranceSet
from qasr_train.transcription.settings import CommandConfig, DecodeConfig
from qasr_train.transcription.shares import SharedTranscription

# What may differ when a run is resumed: it changes neither a transcript nor its time.
MAY_CHANGE_ON_RESUME = (
    "run_dir",
    "resume",
    "decode.num_workers",
    "decode.max_failed_fraction",
    "decode.num_warmup_batches",
    "decode.check_batch_invariance",
)


class TranscriptionConfig(Protocol):
    """The settings that every job has by which something is transcribed; run.json holds all of the job's."""

    model: Any
    decode: DecodeConfig
    run_dir: str
    resume: bool
    seed: int


@dataclass(frozen=True)
class TranscriptionRun:
    """Sets and what transcribes them. `open` it, `transcribe`, then read its `predictions`.

    recipe: what run.json says runs. may_change: settings besides MAY_CHANGE_ON_RESUME that touch nothing transcribed.
    go_on: how a user goes on after an interruption.
    """

    config: TranscriptionConfig
    sets: Sequence[UtteranceSet]
    machine: Machine
    recipe: str
    may_change: Sequence[str]
    go_on: str = "the same command with resume=true goes on"

    @property
    def run_dir(self) -> Path:
        """Where it runs."""
        return Path(self.config.run_dir)

    @property
    def is_main(self) -> bool:
        """Whether this process writes what all have in common."""
        return self.machine.processes.is_main

    def open(self) -> None:
        """Claim the run directory, or check that what it holds was begun with the same model, sets and decode settings.

        Raises:
            ConfigError: the prompts would lose contexts; the directory is taken; a setting, the weights or a manifest changed
                since the run began.
        """
        self._refuse_lost_contexts()
        if self.is_main:
            try:
                self._claim()
            except BaseException:
                unlock_run_dir(self.run_dir)
                raise
        self.machine.processes.wait()

    @contextmanager
    def can_be_resumed(self) -> Iterator[None]:
        """Where what runs inside fails or is interrupted: keep what was transcribed, leave no directory without any of it."""
        try:
            yield
        except BaseException as error:
            if self.is_main and not self.config.resume:
                discard_if_nothing_done(self.run_dir)  # then the same command, mended, may use the name again
                release_if_unused(self.run_dir)
            if isinstance(error, KeyboardInterrupt):
                raise UserError(self._interrupted()) from None
            raise

    def transcribe(self, count_errors: CountErrors) -> None:
        """Transcribe what is missing, by a model that is loaded here or by a command; then the processes part.

        count_errors: for the running WER beside the progress bar.

        Raises:
            UserError: the checkpoint cannot be loaded, the model cannot be told what the settings say, too many recordings
                cannot be read, the command fails; an interruption.
        """
        try:
            with self.can_be_resumed():
                if not (self.run_dir / PREDICTIONS).exists():
                    self._transcribe(count_errors)
        finally:
            unlock_run_dir(self.run_dir)
        self.machine.processes.leave()

    def predictions(self) -> PredictionSet:
        """Those of all processes and tries, chunks of one recording merged."""
        return load_predictions(self.run_dir)

    def _transcribe(self, count_errors: CountErrors) -> None:
        command = self.config.model
        if not isinstance(command, CommandConfig):
            self._transcribe_by_model(count_errors)
        elif self.is_main:
            record_in_run(self.run_dir, system=command.system, num_parameters=command.num_parameters)
            run_command(command, self.sets, self.config.decode, self.run_dir)

    def _transcribe_by_model(self, count_errors: CountErrors) -> None:
        decode, processes = self.config.decode, self.machine.processes
        decoding = decode.decoding(self.config.model.max_duration_s)
        work = SharedTranscription(self.sets, decoding, self.run_dir, processes)
        model = load_model(self.config.model, device=self.machine.device, dtype=self.machine.dtype)
        work.transcribe(model, num_warmup_batches=decode.num_warmup_batches, count_errors=count_errors)
        processes.wait()
        work.check_failures()
        checked = work.check_batch_invariance(model, decode.check_batch_invariance, self.config.seed)
        if self.is_main:
            record_in_run(
                self.run_dir,
                batch_invariance=checked,
                num_processes=processes.num_processes,
                model=model.origin.record() if isinstance(model, KnowsOrigin) else None,
                system=asdict(find_family(self.config.model.family).card),
                num_parameters=sum(parameter.numel() for parameter in model.module.parameters()),
            )
            work.finish()

    def _refuse_lost_contexts(self) -> None:
        decode = self.config.decode
        for one in self.sets:
            refuse_lost_contexts(
                decode.prompt, one.utterances, use_context=decode.use_context, where=f"set {one.name!r}"
            )

    def _claim(self) -> None:
        run_dir = claim_run_dir(self.run_dir, resume=self.config.resume)
        inputs = self._inputs()
        if self.config.resume:
            check_same_config(run_dir, self.config, ignore=(*MAY_CHANGE_ON_RESUME, *self.may_change))
            _check_same_inputs(run_dir, read_run(run_dir).get("inputs", inputs), inputs)
        save_provenance(run_dir, self.config, self.recipe)
        rows = {one.name: one.intake.record() for one in self.sets if one.intake is not None}
        record_in_run(run_dir, inputs=inputs, rows=rows)

    def _inputs(self) -> dict[str, Any]:
        """What decides the transcripts besides the settings, as run.json has it."""
        model, dtype = self.config.model, self.machine.dtype
        # Of a command nothing lies here.
        weights = None if isinstance(model, CommandConfig) else checkpoint_digest(model)
        return {
            "model": {"weights": weights, "precision": str(dtype).removeprefix("torch.")},
            "device": self.machine.device.type,
            "sets": {one.name: {"num_utterances": len(one.utterances), "digest": one.digest()} for one in self.sets},
        }

    def _interrupted(self) -> str:
        num_utterances = sum(len(one.utterances) for one in self.sets)
        num_done = len(read_partials(self.run_dir))
        if not num_done:
            return f"interrupted before the first of {num_utterances} utterances was transcribed; run the same command again"
        return f"interrupted; {num_done} of {num_utterances} utterances are in {self.run_dir}: {self.go_on}"


def _check_same_inputs(run_dir: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    if before.get("model") != now["model"]:
        raise ConfigError(
            f"resume: the weights of model.path, or the precision, are not those {run_dir} was begun with "
            f"({before.get('model')} -> {now['model']}); give another run_dir"
        )
    if before.get("device") != now["device"]:
        raise ConfigError(
            f"resume: {run_dir} was begun with device={before.get('device')}, this is {now['device']}; set it, or give "
            "another run_dir"
        )
    for name, state in now["sets"].items():
        earlier = before.get("sets", {}).get(name)
        if earlier != state:
            raise ConfigError(
                f"resume: the utterances of set {name!r} are not those {run_dir} was begun with ({earlier} -> {state}); "
                "restore the manifest, or give another run_dir"
            )
