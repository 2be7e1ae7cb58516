"""Owns the settings of `serve`."""

from dataclasses import dataclass
from typing import Any

from qasr_train.config.settings import check_settings, setting
from qasr_train.errors import ConfigError
from qasr_train.jobs.settings.transcribe import AlignerConfig, SubtitlesConfig
from qasr_train.models.run_folder import name_of_run
from qasr_train.run.settings import Device, Precision, refuse_fp16
from qasr_train.serving.settings import LimitsConfig
from qasr_train.streaming.settings import StreamingConfig, refuse_streaming
from qasr_train.transcription.prompts import refuse_prompt
from qasr_train.transcription.settings import REFERENCE, CommandConfig, DecodeConfig, LongAudio


@dataclass
class ServeConfig:
    """Looking at one's fine-tune: a page with upload and microphone, and OpenAI's /v1/audio/transcriptions, on this machine."""

    model: Any = setting(help="section; the model that transcribes")
    decode: DecodeConfig = setting(DecodeConfig(), help="section; how audio is turned into text")
    host: str = setting(
        "127.0.0.1", help="address; where it listens. 127.0.0.1: this machine alone; 0.0.0.0: everybody who reaches it"
    )
    port: int = setting(8000, ge=0, le=65535, help="number; where it listens. 0: a free one, which is printed")
    allowed_hosts: list[str] = setting(
        [], help="names; by which it may be called besides localhost, `host` and addresses in numbers"
    )
    name: str | None = setting(
        None,
        help="name; by which requests ask for the model. null: of a run its name, else the last part of model.path",
    )
    limits: LimitsConfig = setting(LimitsConfig(), help="section; what is refused")
    aligner: AlignerConfig = setting(AlignerConfig(), help="section; what tells when each word was said")
    subtitles: SubtitlesConfig = setting(SubtitlesConfig(), help="section; how SRT and VTT are laid out")
    device: Device = setting(Device.auto, help="where to compute. auto: a GPU where there is one")
    precision: Precision = setting(Precision.auto, help="number format of the model. auto: bf16 on a GPU, else fp32")

    def __post_init__(self) -> None:
        check_settings(self, "serve")
        refuse_fp16(self.precision, "precision")
        if isinstance(self.model, CommandConfig):
            raise ConfigError(
                "model=command: serve keeps a model in memory, and a command has none to keep; give model.path"
            )
        self.name = self.name or name_of_run(self.model.path)
        refuse_prompt(self.decode.prompt, self.model.family)
        refuse_streaming(self.decode.streaming, self.decode.engine, self.model)
        chunk_s = (self.decode.streaming or StreamingConfig()).chunk_s
        if self.limits.max_live_sessions and self.limits.max_behind_s <= chunk_s:
            raise ConfigError(
                f"limits.max_behind_s={self.limits.max_behind_s:g}: the microphone is heard {chunk_s:g} s at a time "
                "(decode.streaming.chunk_s), so that every session would end before its first text; raise it"
            )
        if self.decode.long_audio is not LongAudio.split:
            raise ConfigError(
                f"decode.long_audio={self.decode.long_audio.value}: serve cuts long recordings at silences; leave it split"
            )
        if self.decode.language == REFERENCE:
            raise ConfigError("decode.language=reference: an upload states no language; give auto, or a name or code")
        if not self.host.strip():
            raise ConfigError(
                "host is empty; give 127.0.0.1 for this machine alone, 0.0.0.0 for everybody who reaches it"
            )
