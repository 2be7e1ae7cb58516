"""Owns the settings of a source: where it lies, how its columns are called, how much of it is used."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from qasr_train.config.patterns import matches
from qasr_train.config.settings import check_settings, setting
from qasr_train.errors import ConfigError, DataError
from qasr_train.text.languages import resolve_language

# Field of Utterance -> the names its column goes by, the first one present wins; upper and lower case do not matter. No
# begin_time / end_time: in corpora of cut clips (MLS, GigaSpeech, AMI) they give the place in the uncut recording.
COLUMN_NAMES: dict[str, tuple[str, ...]] = {
    "id": ("id", "utterance_id", "utt_id", "uttid", "segment_id", "audio_id", "key"),
    "audio": ("audio", "audio_filepath", "audio_path", "audio_file", "path", "file", "file_name", "filename", "wav"),
    "text": ("text", "sentence", "normalized_text", "transcript", "transcription", "text_normalized", "raw_text"),
    "language": ("language", "lang", "locale"),
    "speaker": ("speaker", "speaker_id", "client_id", "spk", "spk_id"),
    "duration_s": ("duration_s", "duration"),
    "start_s": ("start_s", "start", "offset"),
    "end_s": ("end_s", "end"),
    "channel": ("channel", "channel_selector", "channel_id", "channel_index", "audio_channel"),
    "context": ("context", "prompt"),
    "split": ("split",),
    "words": ("words",),
}


# Columns that say in other corpora which part of a recording is meant, or where in an uncut one it came from.
UNCERTAIN_TIMES = ("begin_time", "end_time", "start_time", "stop_time", "begin", "stop", "segment_start", "segment_end")


def check_columns(columns: Mapping[str, str]) -> None:
    """Refuse (ConfigError) a mapping for a field that does not exist."""
    for field in columns:
        if field not in COLUMN_NAMES:
            raise ConfigError(f"source.columns.{field}: no such field; choose from {', '.join(COLUMN_NAMES)}")


_FILTERED = ("id", "speaker", "language", "audio")


class SourceFormat(str, Enum):
    """How a source is stored."""

    auto = "auto"
    jsonl = "jsonl"
    csv = "csv"
    parquet = "parquet"
    hf = "hf"
    webdataset = "webdataset"
    kaldi = "kaldi"
    lhotse = "lhotse"
    timed = "timed"


@dataclass
class SourceConfig:
    """One dataset split: where it lies, how its columns are called, and how much of it is used."""

    path: str = setting(
        help="manifest (.jsonl, .json, .csv, .tsv, .parquet), .tar shard, lhotse cuts, .srt/.vtt/.ctm/.stm/.TextGrid/.eaf beside "
        "its recording, folder (audio, Parquet, tar, Kaldi, save_to_disk) or hub id"
    )
    format: SourceFormat = setting(
        SourceFormat.auto, help="how the source is stored; auto: by suffix, folder or hub id"
    )
    split: str | None = setting(
        None, help="keep the rows whose `split` says this / the split of the dataset. null: every row"
    )
    only: dict[str, str] = setting(
        {}, help="id, speaker, language or audio -> glob or re:...; keep the rows that match all, e.g. {speaker: f*}"
    )
    tiers: list[str] = setting(
        [],
        help="names, globs or re:...; the tiers of TextGrid or ELAN that hold what was said. []: those that can be told",
    )
    subset: str | None = setting(
        None, help="configuration of a Hugging Face dataset, e.g. a language. null: its default"
    )
    revision: str | None = setting(
        None,
        help="git revision of a hub id: branch, tag or commit, e.g. refs/convert/parquet. null: its default branch",
    )
    streaming: bool = setting(False, help="read rows as they come instead of loading the list; for more than fits")
    columns: dict[str, str] = setting(
        {}, help="our field -> the source's column, e.g. {text: sentence}; '' leaves a column out. Others are guessed"
    )
    language: str | None = setting(None, help="name or ISO code for rows that state no language. null: unknown")
    new_languages: list[str] = setting([], help="names of languages the model does not have yet, to be learned here")
    audio_root: str | None = setting(None, help="folder where relative audio paths start. null: folder of the manifest")
    passes_per_epoch: float = setting(
        1.0, gt=0, help="passes over this source in an epoch; 0.25 draws another quarter each epoch"
    )
    max_utterances: int | None = setting(None, ge=1, help="utterances; take the first so many. null: all")
    sample_seed: int | None = setting(
        None,
        ge=0,
        help="draw max_utterances at random with this seed, larger draws holding the smaller ones. null: the first ones",
    )

    def __post_init__(self) -> None:
        check_settings(self, "source")
        check_columns(self.columns)
        if self.streaming and self.sample_seed is not None:
            raise ConfigError(
                f"source.sample_seed={self.sample_seed} with streaming=true: a draw has to know all rows, and a stream is taken "
                "as it comes; set streaming=false, or sample_seed=null for the first max_utterances"
            )
        for field, pattern in self.only.items():
            if field not in _FILTERED:
                raise ConfigError(f"source.only: {field!r} cannot be filtered by; choose from {', '.join(_FILTERED)}")
            matches(f"source.only.{field}", pattern, "")
        try:
            resolve_language(self.language, where="source.language", new_languages=self.new_languages)
        except DataError as error:
            raise ConfigError(str(error)) from None
