"""Owns an outside system run as a command (NeMo, vLLM, an API): it reads a manifest of each set and writes predictions.

Input: the sets and a command line. Output: the partial predictions of a run directory, as those of a model, set by set.
The command never sees a reference; speed is that of the whole command, loading included, unless its rows state their times.
"""

import json
import logging
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import soundfile

from qasr_train.audio.decode import SAMPLE_RATE_HZ, probe_audio
from qasr_train.errors import AudioError, ConfigError, DataError
from qasr_train.manifest import Utterance, read_jsonl
from qasr_train.run.directory import read_run, record_in_run
from qasr_train.transcription.journal import Journal, finish, gather_partials, read_partials
from qasr_train.transcription.predictions import Prediction, known_language, merge_chunks, parse_prediction
from qasr_train.transcription.sets import UtteranceSet
from qasr_train.transcription.settings import AUTO, REFERENCE, CommandConfig, DecodeConfig
from qasr_train.transcription.transcribe import FailureCount

logger = logging.getLogger(__name__)

# Whose time it is, in run.json: of the whole command, shared out by duration, or what its rows say.
WALL_TIME, STATED_TIME = "wall time of the command, loading included", "stated in its rows"
_FOLDER = "command-"  # of one try on one set, below the run directory, removed with it
_NUM_LAST_LINES = 5
_MAX_LINE_CHARACTERS = 300
_PATIENCE_S = 10.0  # between asking a command to end and ending it


@dataclass(slots=True)
class _Clip:
    """One utterance as the command gets it. failed: why it does not get it."""

    utterance: Utterance
    path: str | None = None
    duration_s: float | None = None
    failed: str | None = None


def run_command(config: CommandConfig, sets: Sequence[UtteranceSet], decode: DecodeConfig, run_dir: Path) -> None:
    """Run the command on every set that is not transcribed yet, then write predictions.jsonl.

    Of `decode` only `language`, `use_context`, `max_failed_fraction` and `num_workers` apply: a row of the manifest has a
    `language` where one is asked for, and a `context` where it may be used. run.json gets `command_time`: whose time it is.

    Raises:
        ConfigError: the command fails, is ended, or writes nothing. DataError: a row is missing, twice, or not of the set; too
            many recordings cannot be read.
    """
    for stale in run_dir.glob(f"{_FOLDER}*"):  # of a try that was killed
        shutil.rmtree(stale)
    gather_partials(run_dir)
    done = read_partials(run_dir)
    for number, one in enumerate(sets):
        if all((one.name, utterance.id) in done for utterance in one.utterances):
            continue
        try:
            predictions, whose_time = _transcribe_set(config, one, decode, run_dir)
        except (ConfigError, DataError) as error:
            go_on = f" ({number} of {len(sets)} sets are done: mended, it goes on with resume=true)" if number else ""
            raise type(error)(f"{error}{go_on}") from None
        record_in_run(run_dir, command_time=read_run(run_dir).get("command_time", {}) | {one.name: whose_time})
        with Journal(run_dir, rank=0) as journal:
            journal.append(predictions)
    finish(run_dir, [(one.name, utterance.id) for one in sets for utterance in one.utterances])


def _transcribe_set(
    config: CommandConfig, one: UtteranceSet, decode: DecodeConfig, run_dir: Path
) -> tuple[list[Prediction], str]:
    """(predictions in the set's order, WALL_TIME or STATED_TIME)."""
    with tempfile.TemporaryDirectory(prefix=_FOLDER, dir=run_dir, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        clips = _write_clips(one, folder, as_wav=config.as_wav, num_workers=decode.num_workers)
        failures = FailureCount(one.name, len(clips), decode.max_failed_fraction)
        failures.add_reasons([clip.failed for clip in clips if clip.failed])  # before the command costs anything
        given = [clip for clip in clips if clip.failed is None]
        manifest, written = folder / "manifest.jsonl", folder / "predictions.jsonl"
        with open(manifest, "w", encoding="utf-8") as out:
            out.writelines(json.dumps(_manifest_row(clip, decode), ensure_ascii=False) + "\n" for clip in given)
        rows: dict[str, Prediction] = {}
        wall_s = 0.0
        if given:
            logger.info("set %r: %d utterances go to model.command", one.name, len(given))
            wall_s, said = _run(config, one.name, manifest, written)
            rows = _read(written, given, one.name, said)
    failures.add_reasons([row.failed for row in rows.values() if row.failed])
    is_stated = bool(rows) and all(row.time_s is not None for row in rows.values() if row.failed is None)
    total_s = sum(clip.duration_s or 0.0 for clip in given)
    wall_s_per_s = None if is_stated or not total_s else wall_s / total_s
    predictions = [_prediction(clip, rows.get(clip.utterance.id), one, decode, wall_s_per_s) for clip in clips]
    return predictions, STATED_TIME if is_stated else WALL_TIME


def _write_clips(one: UtteranceSet, folder: Path, *, as_wav: bool, num_workers: int) -> list[_Clip]:
    """The file of each utterance: its own where it is a whole one and nothing is changed in it, else a WAV, mono at 16 kHz."""

    def write(number: int) -> _Clip:
        utterance = one.utterances[number]
        clip = _Clip(utterance)
        try:
            if not as_wav and one.change is None and _is_whole_file(utterance):
                clip.path = str(Path(str(utterance.audio)).resolve())
                clip.duration_s = probe_audio(utterance.audio, name=utterance.id).duration_s
            else:
                waveform = one.load_clip(utterance)
                clip.path = str((folder / f"{number:06d}.wav").resolve())
                clip.duration_s = len(waveform) / SAMPLE_RATE_HZ
                soundfile.write(clip.path, waveform, SAMPLE_RATE_HZ, subtype="PCM_16")
        except AudioError as error:
            clip.failed, clip.duration_s = str(error), utterance.duration_s
        return clip

    with ThreadPoolExecutor(num_workers, thread_name_prefix="write-clips") as pool:
        return list(pool.map(write, range(len(one.utterances))))


def _is_whole_file(utterance: Utterance) -> bool:
    is_cut = any(part is not None for part in (utterance.start_s, utterance.end_s, utterance.channel))
    return isinstance(utterance.audio, str) and not is_cut and Path(utterance.audio).is_file()


def _manifest_row(clip: _Clip, decode: DecodeConfig) -> dict[str, Any]:
    """A row under the names that NeMo and the leaderboard use; no reference."""
    row = {"id": clip.utterance.id, "audio_filepath": clip.path, "duration": clip.duration_s}
    language = clip.utterance.language if decode.language == REFERENCE else decode.language
    if language and language != AUTO:
        row["language"] = language
    if decode.use_context and clip.utterance.context:
        row["context"] = clip.utterance.context
    return row


def _run(config: CommandConfig, set_name: str, manifest: Path, predictions: Path) -> tuple[float, str]:
    """Run the command; what it says goes to standard error. Returns: seconds, its last lines as part of a sentence."""
    stands_for = {"{manifest}": str(manifest.resolve()), "{predictions}": str(predictions.resolve()), "{set}": set_name}
    words = config.words()
    for placeholder, value in stands_for.items():
        words = [word.replace(placeholder, value) for word in words]
    started_s = time.perf_counter()
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    last_lines: deque[str] = deque(maxlen=_NUM_LAST_LINES)
    assert process.stdout is not None and process.stderr is not None
    threads = [
        threading.Thread(target=_pass_on, args=(process.stdout, None), daemon=True),
        threading.Thread(target=_pass_on, args=(process.stderr, last_lines), daemon=True),
    ]
    try:
        for thread in threads:
            thread.start()
        status = process.wait()
    finally:
        _end(process)
    wall_s = time.perf_counter() - started_s
    for thread in threads:
        thread.join(_PATIENCE_S)  # a process that the command left behind may hold the pipe open
    said = f"; the last it said: {' | '.join(last_lines)}" if last_lines else "; it said nothing on stderr"
    if status != 0:
        raise ConfigError(f"model.command {_ending(status)} on set {set_name!r} after {wall_s:.1f} s{said}")
    return wall_s, said


def _pass_on(stream: IO[bytes], last_lines: deque[str] | None) -> None:
    """Copy lines to standard error as they come, and keep the last ones."""
    with stream:
        for line in stream:
            text = line.decode(errors="replace").rstrip()
            print(text, file=sys.stderr, flush=True)
            if last_lines is not None and text.strip():
                last_lines.append(text.strip()[-_MAX_LINE_CHARACTERS:])


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a command that an interruption left running."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _ending(status: int) -> str:
    if status > 0:
        return f"ended with status {status}"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
    return f"was ended by {name}{' (out of memory?)' if name == 'SIGKILL' else ''}"


def _read(path: Path, given: Sequence[_Clip], set_name: str, said: str) -> dict[str, Prediction]:
    """The rows the command wrote, by utterance id; every id of the manifest once.

    Raises:
        ConfigError: there is no file. DataError: a row is damaged, missing, twice, or of another set.
    """
    if not path.is_file():
        raise ConfigError(f"model.command ended well on set {set_name!r} but wrote no {{predictions}} file{said}")
    ids = {clip.utterance.id for clip in given}
    of_path: dict[str | None, list[str]] = {}
    for clip in given:
        of_path.setdefault(clip.path, []).append(clip.utterance.id)
    parsed = [
        parse_prediction({"text": None} | row, f"{path.name}:{where.rpartition(':')[2]}")
        for where, row in read_jsonl(path)
    ]
    merged, warnings = merge_chunks(parsed)
    for warning in warnings:
        logger.warning(warning)
    rows: dict[str, Prediction] = {}
    for row in merged:
        names = [row.id] if row.id else of_path.get(row.audio_filepath, [])
        if len(names) != 1 or names[0] not in ids:
            raise DataError(_stranger(row, names, set_name))
        if names[0] in rows:
            raise DataError(
                f"model.command wrote utterance {names[0]!r} of set {set_name!r} twice ({rows[names[0]].origin} and "
                f"{row.origin}); every id of the manifest must stand once"
            )
        rows[names[0]] = row
    missing = [clip.utterance.id for clip in given if clip.utterance.id not in rows]
    if missing:
        raise DataError(
            f"model.command wrote {len(rows)} of the {len(given)} utterances of set {set_name!r}, the first missing one is "
            f'{missing[0]!r}; a row it has no text for needs `pred_text` "" or `failed` with the reason{said}'
        )
    return rows


def _stranger(row: Prediction, names: list[str], set_name: str) -> str:
    where = f"model.command, set {set_name!r}, {row.origin}:"
    if len(names) > 1:
        return f"{where} `audio_filepath` alone does not tell which utterance it is ({len(names)} share it); give `id`"
    if row.id:
        return f"{where} id {row.id!r} is not in the manifest it was given; copy `id` from there"
    return f"{where} has neither an `id` nor an `audio_filepath` of the manifest it was given; copy `id` from there"


def _prediction(
    clip: _Clip, row: Prediction | None, one: UtteranceSet, decode: DecodeConfig, wall_s_per_s: float | None
) -> Prediction:
    """wall_s_per_s: seconds of the command per second of audio; None: as the rows say."""
    utterance = clip.utterance
    failed = clip.failed or (row.failed if row else None)
    heard = row if row and not failed else Prediction(None, None, None, None, "")
    time_s = heard.time_s if wall_s_per_s is None else wall_s_per_s * (clip.duration_s or 0.0)
    prediction = replace(
        heard,
        id=utterance.id,
        audio_filepath=utterance.audio_name,
        duration_s=clip.duration_s,
        time_s=None if failed else time_s,
        text=utterance.text,
        language=utterance.language,
        speaker=utterance.speaker,
        channel=utterance.channel,
        predicted_language=known_language(heard.predicted_language) if decode.language == AUTO else None,
        failed=failed,
        context=utterance.context if decode.use_context else None,
    )
    return one.placed(prediction)
