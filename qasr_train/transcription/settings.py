"""Owns the settings of decoding, and what of them a transcription goes by.

Input: values of the group `decode`. Output: a checked DecodeConfig, whose language is the model's name for it, and `Decoding`.
"""

import shlex
import shutil
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

from qasr_train.config.settings import check_settings, setting
from qasr_train.data.buckets import BatchBudget
from qasr_train.errors import ConfigError, DataError
from qasr_train.models.settings import Engine
from qasr_train.run.processes import check_num_workers
from qasr_train.streaming.settings import StreamingConfig, StreamPolicy
from qasr_train.text.languages import LANGUAGES, resolve_language
from qasr_train.transcription.prompts import PromptForm

AUTO, REFERENCE = "auto", "reference"  # besides a language's name: the model tells it, each row's own


class LongAudio(Enum):  # not a str: it would lose its method `split`
    """What to do with a recording longer than one pass takes."""

    split = "split"  # cut at silences, transcribe the pieces, join their texts
    error = "error"  # stop before anything is transcribed
    drop = "drop"  # count it as failed, with the reason


@dataclass
class DecodeConfig:
    """How audio is turned into text."""

    language: str = setting(
        AUTO, help="auto: the model tells it; reference: each row's own; or a name or code: forced on every row"
    )
    new_languages: list[str] = setting([], help="names; languages a fine-tune added, which `language` may then force")
    use_context: bool = setting(True, help="whether a row's context (hotwords, background) goes into the prompt")
    prompt: PromptForm = setting(
        PromptForm.own,
        help="own: a system turn always, empty without a context, as qwen-asr sends it; served: a system turn only around "
        "a context, as vllm serve sends it to /v1/audio/transcriptions; no_turn: never one, as its /v1/realtime does. "
        "Families without a system turn have their own alone",
    )
    max_new_tokens: int | None = setting(
        None, ge=1, help="tokens; a row that meets the limit is counted as truncated. null: 64 + 16 a second of audio"
    )
    batch_seconds: float = setting(120.0, gt=0, help="seconds; rows of a batch times its longest clip")
    max_batch_rows: int = setting(64, ge=1, help="rows; the most of a batch")
    max_duration_s: float | None = setting(
        None, ge=5, help="seconds; the longest clip transcribed in one pass. null: what the model takes"
    )
    long_audio: LongAudio = setting(LongAudio.split, help="a longer clip: cut at silences, stop, or count as failed")
    overlap_s: float = setting(
        4.0,
        ge=0,
        help="seconds; what both pieces of a longer clip hear where it is cut, at most a fifth of a piece. 0: none",
    )
    engine: Engine = setting(
        Engine.auto,
        help="auto: the family's own decoding loop where it has one, on a GPU as CUDA graphs; loop: without graphs; "
        "generate: that of transformers",
    )
    streaming: StreamingConfig | None = setting(
        None, help="section; recordings are heard as they come, chunk by chunk, by a simulated clock. null: whole"
    )
    max_failed_fraction: float = setting(
        0.1, ge=0, le=1, help="share of a set; when more of its recordings cannot be read, the run stops"
    )
    num_workers: int = setting(4, ge=1, help="threads; decode audio ahead of the model")
    num_warmup_batches: int = setting(1, ge=0, help="batches; transcribed first without taking time; not in training")
    check_batch_invariance: int = setting(
        8, ge=0, help="utterances; transcribed again alone and compared with their batch; not in training. 0: off"
    )

    def __post_init__(self) -> None:
        check_settings(self, "decode")
        if self.streaming is not None and self.long_audio is not LongAudio.split:
            raise ConfigError(
                f"decode.long_audio={self.long_audio.value}: a stream of any length is heard, window by window; set "
                "decode.long_audio=split, or decode.streaming=null"
            )
        self.language = self._resolved_language()  # as the functions below take it: AUTO, REFERENCE or the model's name

    def _resolved_language(self) -> str:
        if self.language.lower() in (AUTO, REFERENCE):
            return self.language.lower()
        try:
            name = resolve_language(self.language, where="decode.language", new_languages=self.new_languages)
        except DataError:
            raise ConfigError(
                f"decode.language={self.language}: unknown language; use auto, reference, or one of {', '.join(LANGUAGES)} "
                "(a language that a fine-tune added goes into decode.new_languages too)"
            ) from None
        return name or AUTO

    def decoding(self, model_max_duration_s: float) -> "Decoding":
        """What a transcription goes by. model_max_duration_s: seconds; no clip of a pass is longer than the model takes."""
        longest_s = min(self.max_duration_s or model_max_duration_s, model_max_duration_s)
        return Decoding(
            language=self.language,
            use_context=self.use_context,
            prompt=self.prompt,
            long_audio=self.long_audio,
            overlap_s=self.overlap_s,
            budget=BatchBudget(self.batch_seconds, self.max_batch_rows if self.streaming is None else 1),
            max_duration_s=longest_s,
            max_new_tokens=self.max_new_tokens,
            engine=self.engine,
            num_workers=self.num_workers,
            max_failed_fraction=self.max_failed_fraction,
            streaming=None if self.streaming is None else self.streaming.policy(longest_s),
        )


@dataclass(frozen=True, slots=True)
class Decoding:
    """How one model turns audio into text.

    language: AUTO (the model tells it), REFERENCE (each row's own, AUTO where it has none) or a language's name.
    use_context: whether a row's context goes into the prompt. prompt: whether a system turn stands in it. long_audio: what
    becomes of a clip over `max_duration_s`, in seconds, the longest of one pass. overlap_s: seconds that pieces of such a clip
    have in common. budget: of a batch. max_new_tokens: of a row; None: `token_limit`. engine: what decodes. num_workers: threads
    that decode audio ahead. max_failed_fraction: share of a set; past it, recordings that cannot be read stop the run.
    streaming: how a recording is heard as it comes; None: whole.
    """

    language: str
    use_context: bool
    prompt: PromptForm
    long_audio: LongAudio
    overlap_s: float
    budget: BatchBudget
    max_duration_s: float
    max_new_tokens: int | None
    engine: Engine
    num_workers: int
    max_failed_fraction: float
    streaming: StreamPolicy | None = None

    def __post_init__(self) -> None:
        check_num_workers(self.num_workers)


_NEEDED = ("{manifest}", "{predictions}")


@dataclass
class CommandConfig:
    """An outside system, run once for each set."""

    KEY: ClassVar[str] = "model"  # where it stands

    family: str = setting("command", help="name; tells this from the families of models that are loaded here")
    command: str = setting(
        help="command line, run without a shell; {manifest} and {predictions} stand for the files it reads and must write, "
        "{set} for the name of the set"
    )
    name: str | None = setting(None, help="name; what tables call the system. null: the command line")
    as_wav: bool = setting(
        False,
        help="whether every recording is given as a WAV of 16 kHz. false: the file itself where it is a whole one",
    )
    architecture: str | None = setting(None, help="words; for the table of systems. null: not stated")
    languages: str | None = setting(None, help="words; for the table of systems. null: not stated")
    license: str | None = setting(None, help="words; for the table of systems. null: not stated")
    num_parameters: int | None = setting(None, ge=1, help="weights; for the table of systems. null: not stated")

    def __post_init__(self) -> None:
        check_settings(self, self.KEY)
        words = self.words()
        for placeholder in _NEEDED:
            if not any(placeholder in word for word in words):
                raise ConfigError(
                    f"{self.KEY}.command={self.command}: has no {placeholder}; write for example "
                    '"python my_system.py {manifest} {predictions}"'
                )
        if shutil.which(words[0]) is None:
            raise ConfigError(f"{self.KEY}.command: no program {words[0]!r}; give its path, or install it")

    def words(self) -> list[str]:
        """The command line as words; ConfigError where a quote is not closed."""
        try:
            return shlex.split(self.command)
        except ValueError as error:
            raise ConfigError(f"{self.KEY}.command={self.command}: cannot be split into words ({error})") from None

    @property
    def system(self) -> dict[str, Any]:
        """What run.json says of it, with the fields of a family's Card."""
        return {"architecture": self.architecture, "languages": self.languages, "license": self.license}
