"""Owns the settings of `transcribe`."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from qasr_train.alignment.text import MIN_CONFIDENCE
from qasr_train.config.settings import check_settings, setting
from qasr_train.errors import ConfigError
from qasr_train.run.settings import Device, Precision, refuse_fp16
from qasr_train.streaming.settings import refuse_heard_as_it_comes
from qasr_train.timed.cues import CueLayout
from qasr_train.timed.formats import FORMATS
from qasr_train.transcription.prompts import refuse_prompt
from qasr_train.transcription.recordings.pieces import Channels
from qasr_train.transcription.settings import REFERENCE, DecodeConfig, LongAudio

_SEVERAL_AT_ONCE = ("txt", "jsonl", "ctm", "stm")  # formats that a reader can tell several recordings apart in


def refuse_unknown_formats(names: Collection[str]) -> None:
    """ConfigError where `formats` is empty, or names one that is not written."""
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        wanted = f"formats={unknown[0]}: no such format" if unknown else "formats is empty"
        raise ConfigError(f"{wanted}; choose from {', '.join(FORMATS)}")


@dataclass
class SubtitlesConfig:
    """What a cue of SRT and VTT may be."""

    max_line_length: int = setting(
        42, ge=10, help="columns; the longest line. A Chinese, Japanese or Korean character takes two"
    )
    max_lines: int = setting(2, ge=1, help="lines of a cue")
    max_characters_per_s: float = setting(
        17.0, gt=0, help="columns a second that can be read; a cue stays longer where the next one lets it"
    )
    min_duration_s: float = setting(1.0, ge=0, help="seconds; a cue stays that long where the next one lets it")
    max_duration_s: float = setting(7.0, gt=0, help="seconds; no cue stays longer")

    def __post_init__(self) -> None:
        check_settings(self, "subtitles")
        if self.min_duration_s > self.max_duration_s:
            raise ConfigError(
                f"subtitles.min_duration_s={self.min_duration_s:g} is more than subtitles.max_duration_s={self.max_duration_s:g}"
            )

    def layout(self) -> CueLayout:
        """As `timed/cues.py` takes it."""
        return CueLayout(
            self.max_line_length,
            self.max_lines,
            self.max_characters_per_s,
            self.min_duration_s,
            self.max_duration_s,
        )


@dataclass
class AlignerConfig:
    """What tells when each word was said."""

    path: str | None = setting(
        None, help="directory or hub id of an aligner, which gives every word its time. null: times of pieces"
    )
    min_confidence: float = setting(
        MIN_CONFIDENCE,
        ge=0,
        le=1,
        help="0 to 1; a word the aligner is less sure of is left without a time, and marked so",
    )

    def __post_init__(self) -> None:
        check_settings(self, "aligner")


@dataclass
class TranscribeConfig:
    """Transcribing recordings of any length: to the screen, or as text, subtitles and tables of times in a folder."""

    model: Any = setting(help="section; the model that transcribes")
    decode: DecodeConfig = setting(DecodeConfig(), help="section; how audio is turned into text")
    files: list[str] = setting(
        [], help="paths; recordings and folders of them. On the command line plain words: transcribe a.wav calls/"
    )
    out: str | None = setting(
        None,
        help="directory; where files of each of `formats` go, and what is not finished yet. null: the screen, nothing kept",
    )
    formats: list[str] = setting(["txt"], help=f"names; what is written, of {', '.join(FORMATS)}")
    channels: Channels = setting(
        Channels.mix,
        help="mix: all channels that carry sound, averaged; separate: each by itself, as a speaker; first: the first alone",
    )
    aligner: AlignerConfig = setting(AlignerConfig(), help="section; what tells when each word was said")
    subtitles: SubtitlesConfig = setting(SubtitlesConfig(), help="section; how SRT and VTT are laid out")
    device: Device = setting(Device.auto, help="where to compute. auto: a GPU where there is one")
    precision: Precision = setting(Precision.auto, help="number format of the model. auto: bf16 on a GPU, else fp32")

    def __post_init__(self) -> None:
        check_settings(self, "transcribe")
        refuse_fp16(self.precision, "precision")
        refuse_prompt(self.decode.prompt, self.model.family)
        refuse_heard_as_it_comes(self.decode.streaming, "transcribe")
        self._check_formats()
        if not self.files:
            raise ConfigError(
                "no recording is named; give files or folders: transcribe call.wav meetings/ model.path=RUN"
            )
        if self.decode.long_audio is not LongAudio.split:
            raise ConfigError(
                f"decode.long_audio={self.decode.long_audio.value}: transcribe cuts long recordings at silences; leave it split"
            )
        if self.decode.language == REFERENCE:
            raise ConfigError("decode.language=reference: a recording states no language; give auto, or a name or code")

    def _check_formats(self) -> None:
        refuse_unknown_formats(self.formats)
        if self.out is None and len(self.formats) > 1:
            raise ConfigError(
                f"formats=[{','.join(self.formats)}]: the screen takes one format; give out=FOLDER for several"
            )

    def refuse_several_on_screen(self, num_recordings: int) -> None:
        """ConfigError where recordings would not be told apart on the screen."""
        if self.out is None and num_recordings > 1 and self.formats[0] not in _SEVERAL_AT_ONCE:
            raise ConfigError(
                f"formats=[{self.formats[0]}]: {num_recordings} recordings on the screen could not be told apart; give out=FOLDER"
            )
