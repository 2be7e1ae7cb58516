"""Owns the times of words in whole recordings: each segment's words, told by an aligner, remembered as they come.

Input: a cut recording, its segments, an aligner. Output: the same segments with words; of a language that the aligner does not
know none, which is counted.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from tqdm import tqdm

from qasr_train.alignment.text import align_text
from qasr_train.audio.decode import load_audio
from qasr_train.errors import DataError, UserError
from qasr_train.files import parse_json
from qasr_train.models.digest import checkpoint_digest
from qasr_train.models.families import FAMILIES, load_aligner, load_collator
from qasr_train.models.found import checkpoint_in_run
from qasr_train.models.settings import ModelConfig
from qasr_train.run.device import Machine
from qasr_train.timed.base import TimedSegment, TimedWord
from qasr_train.timed.jsonl import row_of_word, word_of
from qasr_train.transcription.recordings.pieces import CutRecording

_ALIGNER = "qwen3_aligner"  # the family there is
MARGIN_S = 0.25  # heard before and after a segment: its borders are those of energy, and cost a word its first sound


class AlignsWords(Protocol):
    """Says when the words of a text were said in a clip."""

    def __call__(self, waveform: np.ndarray, text: str, language: str | None) -> Sequence[TimedWord]:
        """All words in order, in seconds of the clip, float32 [S] at 16 kHz.

        Raises:
            DataError: the language is not known to it.
        """


def aligner_at(path: str) -> ModelConfig:
    """The config of the aligner at a path, found before anything is transcribed.

    Raises:
        CheckpointError: nothing lies there, or what lies there aligns nothing.
    """
    config: ModelConfig = FAMILIES[_ALIGNER].config(path=checkpoint_in_run(path))
    load_collator(config)
    return config


def align_recordings(
    segments: dict[CutRecording, list[TimedSegment]],
    config: ModelConfig,
    machine: Machine,
    work_dir: Path,
    *,
    min_confidence: float,
) -> list[str]:
    """Give the segments of every recording their words, in place; returns sentences on what has no times.

    config: of the aligner. work_dir: where what is done is remembered. min_confidence: a word less sure is left unplaced.

    Raises:
        CheckpointError: the aligner cannot be loaded. UserError: an interruption.
    """
    asked = [config.path, checkpoint_digest(config), min_confidence]
    journal = work_dir / f"words-{hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]}.jsonl"
    aligner = load_aligner(config, device=machine.device, dtype=machine.dtype)

    def align(waveform: np.ndarray, text: str, language: str | None) -> Sequence[TimedWord]:
        return align_text(aligner, waveform, text, language, min_confidence=min_confidence).words

    bar = tqdm(total=len(segments), desc="align", unit="file", dynamic_ncols=True)
    try:
        with bar, WordTimes(align, journal) as words:
            for cut in segments:
                segments[cut] = words.of(cut, segments[cut])
                bar.update(1)
    except KeyboardInterrupt:
        raise UserError(
            f"interrupted after {bar.n} of {len(segments)} recordings were aligned; the same command goes on"
        ) from None
    timed = [word for own in segments.values() for one in own for word in one.words]
    num_lost = sum(not word.is_placed for word in timed)
    lost = [f"{num_lost} of {len(timed)} words could not be placed and have no times"] if num_lost else []
    return lost + [f"{number} pieces have no word times: {reason}" for reason, number in words.refused.items()]


@dataclass
class WordTimes:
    """Aligns segments and remembers what it did; a context manager that closes its journal.

    journal: JSON lines; another aligner needs another. refused: why a segment was left without words -> how many.
    """

    align: AlignsWords
    journal: Path
    refused: dict[str, int] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._known = _read(self.journal)
        self._file = open(self.journal, "a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def of(self, cut: CutRecording, segments: Sequence[TimedSegment]) -> list[TimedSegment]:
        """The segments with their words.

        Raises:
            AudioError: the recording cannot be read any more.
        """
        channels = {track.speaker: track.channel for track in cut.tracks}
        return [self._with_words(cut, one, channels[one.speaker]) for one in segments]

    def _with_words(self, cut: CutRecording, segment: TimedSegment, channel: int | None) -> TimedSegment:
        key = _key(cut, segment, channel)
        if key not in self._known:
            try:
                self._known[key] = self._heard(cut, segment, channel)
            except DataError as error:
                self.refused[str(error)] = self.refused.get(str(error), 0) + 1
                return segment
            self._write(key)
        return replace(segment, words=self._known[key])

    def _heard(self, cut: CutRecording, segment: TimedSegment, channel: int | None) -> tuple[TimedWord, ...]:
        begin_s, end_s = max(0.0, segment.start_s - MARGIN_S), segment.end_s + MARGIN_S
        waveform = load_audio(
            str(cut.recording.path),
            start_s=begin_s,
            end_s=None if end_s >= cut.duration_s else end_s,
            channel=channel,
        )
        return tuple(word.moved(begin_s) for word in self.align(waveform, segment.text, segment.language))

    def _write(self, key: str) -> None:
        row = {"key": key, "words": [row_of_word(word) for word in self._known[key]]}
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def _key(cut: CutRecording, segment: TimedSegment, channel: int | None) -> str:
    asked: list[Any] = [str(cut.recording.path.resolve()), channel, segment.start_s, segment.end_s]
    return hashlib.sha256(json.dumps([*asked, segment.text, segment.language]).encode()).hexdigest()[:24]


def _read(journal: Path) -> dict[str, tuple[TimedWord, ...]]:
    rows: dict[str, tuple[TimedWord, ...]] = {}
    for line in journal.read_bytes().splitlines() if journal.is_file() else []:
        try:
            row = parse_json(line)
            rows[row["key"]] = tuple(word_of(word, str(journal)) for word in row["words"])
        except (ValueError, KeyError, TypeError):
            continue  # cut short by a kill: the segment is aligned again
    return rows
