"""Owns the settings of `sweep_chunks`."""

from dataclasses import dataclass, replace
from typing import Any

from qasr_train.config.settings import check_settings, setting
from qasr_train.errors import ConfigError
from qasr_train.evaluation.settings import SuiteConfig
from qasr_train.jobs.settings.evaluate import refuse_other_kind
from qasr_train.run.settings import Device, Precision, refuse_fp16
from qasr_train.streaming.settings import StreamingConfig, refuse_streaming
from qasr_train.transcription.prompts import refuse_prompt
from qasr_train.transcription.settings import DecodeConfig


@dataclass
class SweepChunksConfig:
    """Evaluating a model on whole recordings and on streams of them, by chunks of several lengths."""

    model: Any = setting(help="section; the checkpoint to evaluate")
    suite: SuiteConfig = setting(help="section; what is transcribed, and the rules of scoring")
    decode: DecodeConfig = setting(
        DecodeConfig(),
        help="section; how audio is turned into text; chunks_s takes the place of decode.streaming.chunk_s",
    )
    chunks_s: list[float] = setting(
        [0.5, 1.0, 2.0, 4.0], ge=0.1, help="seconds; audio between two updates, of each stream"
    )
    appending_chunk_s: float | None = setting(
        2.0,
        ge=0.1,
        help="seconds; of a stream beside them that never takes anything back, to see what that costs. null: none",
    )
    max_loss_points: float = setting(
        1.0, ge=0, help="points of WER or CER; the most a stream may lose, surely, against whole recordings"
    )
    alpha: float = setting(0.05, gt=0, lt=0.5, help="share; how often a stream may pass by chance alone")
    run_dir: str = setting(
        help="directory; new for every sweep, never overwritten. out= says the same, as in every recipe"
    )
    resume: bool = setting(False, help="go on with the sweep that run_dir holds")
    device: Device = setting(Device.auto, help="where to compute. auto: a GPU where there is one")
    precision: Precision = setting(Precision.auto, help="number format of the model. auto: bf16 on a GPU, else fp32")

    def __post_init__(self) -> None:
        check_settings(self, "sweep_chunks")
        refuse_fp16(self.precision, "precision")
        refuse_prompt(self.decode.prompt, self.model.family)
        refuse_other_kind(self.model.family, self.suite)
        self.chunks_s = sorted(set(self.chunks_s))
        if not self.chunks_s:
            raise ConfigError(
                "chunks_s=[]: nothing to compare with whole recordings; give lengths, e.g. chunks_s=[1,2]"
            )
        for streaming in self.streams().values():
            decode = self.decoding(streaming)  # refuses what does not go with streaming
            refuse_streaming(decode.streaming, decode.engine, self.model, decode.max_duration_s)

    def streams(self) -> dict[str, StreamingConfig]:
        """The streams to evaluate, by the name that folders and tables have for them."""
        base = self.decode.streaming or StreamingConfig()
        window_s = base.window_s
        streams = {
            f"{chunk_s:g} s": StreamingConfig(chunk_s, base.unfixed_chunks, base.unfixed_tokens, window_s)
            for chunk_s in self.chunks_s
        }
        if self.appending_chunk_s is not None:
            name = f"{self.appending_chunk_s:g} s, appending"
            streams[name] = StreamingConfig(self.appending_chunk_s, 0, 0, window_s)
        return streams

    def decoding(self, streaming: StreamingConfig | None) -> DecodeConfig:
        """The settings of decoding of one evaluation."""
        return replace(self.decode, streaming=streaming)
