"""Owns the job of `recipes/transcribe.py`: recordings of any length + a model -> transcripts with times, in any format.

Input: TranscribeConfig. Output: a file of each format for each recording below `out`, or the screen; exit status 1 where a
recording could not be read. The engine is that of evaluation, on pieces cut at silences; work/ in `out` holds what is done, so
that the same command goes on after a stop, writes other formats, or costs nothing.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from tqdm import tqdm

from qasr_train.errors import UserError
from qasr_train.jobs.settings.transcribe import TranscribeConfig
from qasr_train.manifest import Utterance
from qasr_train.models.found import model_as_found
from qasr_train.models.locations import SMALL_FILES, resolve_checkpoint
from qasr_train.run.device import Machine, join_machine
from qasr_train.transcription.predictions import Prediction
from qasr_train.transcription.recordings.find import FoundRecording, find_recordings
from qasr_train.transcription.recordings.output import Output
from qasr_train.transcription.recordings.pieces import Channels, CutRecording, Cutting, cut_all
from qasr_train.transcription.recordings.segments import failure_of, segments_of
from qasr_train.transcription.recordings.tries import Tries
from qasr_train.transcription.recordings.words import align_recordings, aligner_at
from qasr_train.transcription.run import TranscriptionRun
from qasr_train.transcription.sets import UtteranceSet
from qasr_train.transcription.settings import AUTO, CommandConfig, DecodeConfig

SET_NAME = "recordings"
WORK = "work"  # in `out`: what is done so far
EXIT_UNREADABLE = 1
GO_ON = "the same command goes on"
_NO_WORD_TIMES = "no word times: times are those of pieces cut at silences, shared out by length of text in subtitles"


@dataclass
class _Work:
    """What decides the transcripts; run.json holds it. Formats and subtitles may change from one try to the next."""

    model: Any
    decode: DecodeConfig
    channels: Channels
    run_dir: str
    resume: bool
    seed: int = 0


def transcribe(config: TranscribeConfig) -> int:
    """Transcribe as the config says; returns the exit status: EXIT_UNREADABLE where a recording could not be read.

    Raises:
        UserError: any mistake in config, paths or checkpoint; an interruption.
    """
    # 1 whatever can be refused before a weight is read
    recordings = find_recordings(config.files)
    config.refuse_several_on_screen(len(recordings))
    if not isinstance(config.model, CommandConfig):
        config = replace(config, model=model_as_found(config.model))
        resolve_checkpoint(config.model.path, config.model.revision, files=SMALL_FILES)
    aligner = None if config.aligner.path is None else aligner_at(config.aligner.path)
    machine = join_machine(config.device, config.precision)
    work_dir = _work_dir(config, recordings)

    # 2 where the recordings are cut; what cannot be read shows here. Then the evaluation's own engine, on the pieces
    cuts = _cut(config, recordings, machine, work_dir)
    predictions = _heard(config, cuts, machine, work_dir)
    if not machine.processes.is_main:
        return 0

    # 3 files or the screen, and what to know of them
    failures = {cut.recording: reason for cut in cuts if (reason := failure_of(cut, predictions))}
    told = None if config.decode.language == AUTO else config.decode.language
    segments = {cut: segments_of(cut, predictions, told) for cut in cuts if cut.recording not in failures}
    remarks = [_NO_WORD_TIMES] if set(config.formats) - {"txt"} else []
    if aligner is not None:
        min_confidence = config.aligner.min_confidence
        remarks = align_recordings(segments, aligner, machine, work_dir, min_confidence=min_confidence)
    output = Output(None if config.out is None else Path(config.out), config.formats, config.subtitles.layout())
    num_fast = output.write([(cut.recording, own) for cut, own in segments.items()])
    _say(config, cuts, len(segments), list(predictions.values()), [*remarks, *_fast(num_fast, config)])
    for recording, reason in failures.items():
        print(f"not read: {recording.path}: {reason.removeprefix(f'{recording.path}: ')}", file=sys.stderr)
    if config.out is None:
        shutil.rmtree(work_dir, ignore_errors=True)
    return EXIT_UNREADABLE if failures else 0


def _work_dir(config: TranscribeConfig, recordings: Sequence[FoundRecording]) -> Path:
    """Where what is done is kept: in `out`; for the screen in the user's cache, by all that decides the transcripts."""
    if config.out is not None:
        return Path(config.out) / WORK
    asked = [[str(one.path.resolve()) for one in recordings], repr(config.model), repr(config.decode), config.channels]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "qasr_train" / f"transcribe-{hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]}"


def _cut(
    config: TranscribeConfig, recordings: Sequence[FoundRecording], machine: Machine, work_dir: Path
) -> list[CutRecording]:
    """Every recording cut; by the main process, the others read what it found."""
    decode = config.decode
    longest_s = decode.max_duration_s
    if not isinstance(config.model, CommandConfig):
        longest_s = decode.decoding(config.model.max_duration_s).max_duration_s
    cutting = Cutting(config.channels, longest_s, decode.overlap_s)
    work_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    processes = machine.processes
    if not processes.is_main:
        processes.wait()
    bar = tqdm(total=len(recordings), desc="read", unit="file", disable=not processes.is_main, dynamic_ncols=True)
    try:
        with bar:
            cuts = cut_all(
                recordings,
                cutting,
                work_dir / "pieces.jsonl",
                num_threads=decode.num_workers,
                on_done=lambda _: bar.update(1),
            )
    except KeyboardInterrupt:
        raise UserError(f"interrupted after {bar.n} of {len(recordings)} recordings were read; {GO_ON}") from None
    if processes.is_main:
        processes.wait()
    return cuts


def _heard(
    config: TranscribeConfig, cuts: Sequence[CutRecording], machine: Machine, work_dir: Path
) -> dict[str, Prediction]:
    """The prediction of each piece by its id, of this try and of earlier ones that were stopped, or knew fewer recordings."""
    utterances = [utterance for cut in cuts for utterance in cut.utterances()]
    tries = Tries(work_dir, SET_NAME)
    rest, run_dir = tries.rest(utterances)
    work = _Work(config.model, config.decode, config.channels, str(run_dir), resume=run_dir in tries.dirs())
    tries.check_same_settings(work)
    machine.processes.wait()  # nobody claims a directory before all have looked
    if not rest:
        return _of(utterances, tries.predictions())
    run = TranscriptionRun(work, [UtteranceSet(SET_NAME, rest)], machine, "transcribe", (), go_on=GO_ON)
    run.open()
    with run.can_be_resumed():
        tries.check_same_model(run_dir)
    run.transcribe(lambda _: (0, 0))
    if not run.is_main:
        return {}
    return _of(utterances, tries.predictions() | {one.id: one for one in run.predictions().predictions})


def _of(utterances: Sequence[Utterance], predictions: Mapping[str, Prediction]) -> dict[str, Prediction]:
    """Those of these utterances: earlier tries may have been about more."""
    return {one.id: predictions[one.id] for one in utterances}


def _say(
    config: TranscribeConfig,
    cuts: Sequence[CutRecording],
    num_read: int,
    predictions: Sequence[Prediction],
    remarks: Sequence[str],
) -> None:
    """What came out, on stderr: the screen's text may go into a pipe."""
    heard_s = sum(one.duration_s or 0.0 for one in predictions if not one.failed)  # what two pieces hear counts twice
    sound = timedelta(seconds=round(sum(cut.duration_s for cut in cuts)))
    inference_s = sum(one.time_s or 0.0 for one in predictions)
    speed = f", RTFx {heard_s / inference_s:.1f}" if inference_s else ""
    where = f" -> {config.out}" if config.out else ""
    lines = [f"{num_read} of {len(cuts)} recordings{where}, {sound} of sound{speed}"]
    if any(one.is_truncated for one in predictions):
        number = sum(bool(one.is_truncated) for one in predictions)
        lines.append(
            f"{number} pieces met the limit of new tokens (decode.max_new_tokens): their text may lack its end"
        )
    print("\n".join([*lines, *remarks]), file=sys.stderr)


def _fast(num_cues: int, config: TranscribeConfig) -> list[str]:
    limit = config.subtitles.max_characters_per_s
    return [f"{num_cues} cues are faster than subtitles.max_characters_per_s={limit:g}"] if num_cues else []
