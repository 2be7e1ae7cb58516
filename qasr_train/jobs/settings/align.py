"""Owns the settings of `align`."""

from dataclasses import dataclass
from typing import Any

from qasr_train.alignment.text import MAX_DOUBT, MIN_CONFIDENCE
from qasr_train.config.settings import check_settings, setting
from qasr_train.jobs.settings.transcribe import SubtitlesConfig, refuse_unknown_formats
from qasr_train.models.families import find_aligner
from qasr_train.run.settings import Device, Precision, refuse_fp16
from qasr_train.sources.settings import SourceConfig
from qasr_train.timed.formats import FORMATS


@dataclass
class AlignConfig:
    """Saying when each word of a known text was said: a source with transcripts -> word times."""

    model: Any = setting(help="section; the aligner")
    source: SourceConfig = setting(SourceConfig(), help="section; recordings and their transcripts")
    predictions: str | None = setting(
        None,
        help="path; predictions.jsonl whose texts are aligned instead of the transcripts, by id. null: the transcripts",
    )
    recogniser: str | None = setting(
        None,
        help="directory or hub id; hears what words are in which part of a recording longer than the aligner takes at once, and "
        "whether a text was said at all. null: long ones are refused, and doubt goes by the aligner's confidence alone",
    )
    out: str = setting(
        help="directory; new, or begun by this command: words in each format, manifest.jsonl with them, doubtful.jsonl"
    )
    formats: list[str] = setting(["jsonl"], help=f"names; what is written, of {', '.join(FORMATS)}")
    min_confidence: float = setting(
        MIN_CONFIDENCE,
        ge=0,
        le=1,
        help="probability; a word less sure is marked as unplaced. 0: every word in order is placed",
    )
    max_doubt: float = setting(
        MAX_DOUBT,
        ge=0,
        le=1,
        help="of a text, the share of its words that the recogniser did not hear (without one: 1 less their mean confidence); "
        "above it is likely another recording's",
    )
    subtitles: SubtitlesConfig = setting(SubtitlesConfig(), help="section; how SRT and VTT are laid out")
    device: Device = setting(Device.auto, help="where to compute. auto: a GPU where there is one")
    precision: Precision = setting(Precision.auto, help="number format of the model. auto: bf16 on a GPU, else fp32")

    def __post_init__(self) -> None:
        check_settings(self, "align")
        refuse_fp16(self.precision, "precision")
        find_aligner(self.model.family)
        refuse_unknown_formats(self.formats)
