"""Owns the times of words in whole recordings: each segment's words, told by an aligner, remembered as they come.

Input: a cut recording, its segments, an aligner. Output: the same segments with words; of a language that the aligner does not
know none, which is counted.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from tqdm import tqdm

from qasr_train.alignment.remembered import Remembered
from qasr_train.alignment.text import Alignment, align_text
from qasr_train.audio.decode import load_audio
from qasr_train.errors import DataError, UserError
from qasr_train.models.digest import checkpoint_digest
from qasr_train.models.families import FAMILIES, load_aligner, load_collator
from qasr_train.models.settings import ModelConfig
from qasr_train.run.device import Machine
from qasr_train.timed.base import TimedSegment
from qasr_train.transcription.recordings.pieces import CutRecording

_ALIGNER = "qwen3_aligner"  # the family there is
MARGIN_S = 0.25  # heard before and after a segment: its borders are those of energy, and cost a word its first sound


class AlignsWords(Protocol):
    """Says when the words of a text were said in a clip."""

    def __call__(self, waveform: np.ndarray, text: str, language: str | None) -> Alignment:
        """In seconds of the clip, float32 [S] at 16 kHz.

        Raises:
            DataError: the language is not known to it.
        """


def aligner_at(path: str) -> ModelConfig:
    """The config of the aligner at a path, found before anything is transcribed.

    Raises:
        CheckpointError: nothing lies there, or what lies there aligns nothing.
    """
    config: ModelConfig = FAMILIES[_ALIGNER].config(path=path)
    load_collator(config)
    return config


def open_word_aligner(config: ModelConfig, machine: Machine, min_confidence: float) -> AlignsWords:
    """The aligner of a config, loaded. min_confidence: a word less sure is left unplaced.

    Raises:
        CheckpointError: it cannot be loaded.
    """
    aligner = load_aligner(config, device=machine.device, dtype=machine.dtype)

    def align(waveform: np.ndarray, text: str, language: str | None) -> Alignment:
        return align_text(aligner, waveform, text, language, min_confidence=min_confidence)

    return align


def sound_of(cut: CutRecording, segment: TimedSegment) -> tuple[np.ndarray, float]:
    """(float32 [S] at 16 kHz, second of the recording at which it begins): a segment with a margin around it.

    Raises:
        AudioError: the recording cannot be read any more.
    """
    begin_s, end_s = max(0.0, segment.start_s - MARGIN_S), segment.end_s + MARGIN_S
    waveform = load_audio(
        cut.recording.audio,
        start_s=begin_s,
        end_s=None if end_s >= cut.duration_s else end_s,
        channel=_channel(cut, segment),
        name=cut.recording.name_in_messages,
    )
    return waveform, begin_s


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
    align = open_word_aligner(config, machine, min_confidence)
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
        self._remembered = Remembered(self.journal).__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._remembered.__exit__()

    def of(self, cut: CutRecording, segments: Sequence[TimedSegment]) -> list[TimedSegment]:
        """The segments with their words.

        Raises:
            AudioError: the recording cannot be read any more.
        """
        return [self._with_words(cut, one) for one in segments]

    def _with_words(self, cut: CutRecording, segment: TimedSegment) -> TimedSegment:
        key = _key(cut, segment)
        found = self._remembered.get(key)
        if found is None:
            try:
                waveform, begin_s = sound_of(cut, segment)
                timed = self.align(waveform, segment.text, segment.language)
                found = self._remembered.add(key, timed.moved(begin_s))
            except DataError as error:
                self.refused[str(error)] = self.refused.get(str(error), 0) + 1
                return segment
        return replace(segment, words=found.words)


def _channel(cut: CutRecording, segment: TimedSegment) -> int | None:
    return next(track.channel for track in cut.tracks if track.speaker == segment.speaker)


def _key(cut: CutRecording, segment: TimedSegment) -> str:
    asked: list[Any] = [str(cut.recording.path.resolve()), _channel(cut, segment), segment.start_s, segment.end_s]
    return hashlib.sha256(json.dumps([*asked, segment.text, segment.language]).encode()).hexdigest()[:24]
