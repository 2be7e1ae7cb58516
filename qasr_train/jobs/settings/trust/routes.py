"""Owns the settings of `routes`."""

import re
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from qasr_train.config.settings import check_settings, setting
from qasr_train.errors import ConfigError
from qasr_train.evaluation.scoring.significance import ResampleBy
from qasr_train.evaluation.settings import RESAMPLE_BY, SetConfig, SuiteConfig
from qasr_train.jobs.settings.evaluate import EvaluateConfig
from qasr_train.models.settings import Engine
from qasr_train.run.settings import Device, Precision, refuse_fp16
from qasr_train.sources.settings import SourceConfig
from qasr_train.streaming.settings import refuse_heard_as_it_comes
from qasr_train.text.normalize import DEFAULT_NORMALIZER, get_normalizer
from qasr_train.transcription.prompts import refuse_prompt
from qasr_train.transcription.settings import CommandConfig, DecodeConfig

OURS, GENERATE = "ours", "generate"  # routes that need no command
CLIPS = "clips"  # the set
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass
class RouteConfig(CommandConfig):
    """The command of a route; only where it stands is another."""

    KEY: ClassVar[str] = "routes.NAME"


@dataclass
class RoutesConfig:
    """The same clips through several routes to a model."""

    model: Any = setting(help="section; the model that our own decoder runs")
    source: SourceConfig = setting(SourceConfig(), help="the clips, with references")
    decode: DecodeConfig = setting(DecodeConfig(), help="section; how audio is turned into text by our own routes")
    routes: dict[str, RouteConfig] = setting(
        {}, help="name -> command; other routes to the model, such as an export in qwen-asr or vLLM (scripts/routes/)"
    )
    include_generate: bool = setting(
        True, help="whether transformers' generate over our model is a route too (decode.engine=generate)"
    )
    margin_points: float = setting(
        1.0, ge=0, help="points of WER or CER; a route that surely loses no more is no worse than our own"
    )
    num_latency_clips: int = setting(
        50, ge=0, help="clips; so many, drawn by seed, are heard one at a time by our own routes. 0: none"
    )
    run_dir: str = setting(
        help="directory; new for every run, never overwritten. out= says the same, as in every recipe"
    )
    resume: bool = setting(False, help="go on with the run that run_dir holds; further routes may be added")
    normalizer: str = setting(DEFAULT_NORMALIZER, help="name; the rules applied to all texts before they are compared")
    resample_by: ResampleBy = setting(ResampleBy.auto, help=RESAMPLE_BY)
    device: Device = setting(Device.auto, help="where our own routes compute. auto: a GPU where there is one")
    precision: Precision = setting(Precision.auto, help="number format of the model. auto: bf16 on a GPU, else fp32")
    seed: int = setting(0, ge=0, help="seed of which clips are heard one at a time")

    def __post_init__(self) -> None:
        check_settings(self, "routes")
        refuse_fp16(self.precision, "precision")
        refuse_prompt(self.decode.prompt, self.model.family)
        refuse_heard_as_it_comes(self.decode.streaming, "routes")
        get_normalizer(self.normalizer)
        if isinstance(self.model, CommandConfig):
            raise ConfigError(
                "model=command: our own decoder is the first route; name the model it loads, and routes.NAME.command"
            )
        if self.source.streaming:
            raise ConfigError("source.streaming=true: routes reads the whole list; leave it false")
        for name in self.routes:
            if name in (OURS, GENERATE) or not _NAME.fullmatch(name):
                raise ConfigError(
                    f"routes.{name}: not a name for a route (letters, digits, . _ -; {OURS} and {GENERATE} are taken)"
                )
        if not self.routes and not self.include_generate:
            raise ConfigError(
                "routes={}: there is nothing to compare with; give routes.NAME.command, or include_generate=true"
            )

    def evaluation(self, route: str, run_dir: str, *, resume: bool, is_alone: bool = False) -> EvaluateConfig:
        """What a route is: an evaluation, which evaluate.py may go on with. is_alone: one clip at a time."""
        decode = self.decode
        if route == GENERATE:
            decode = replace(decode, engine=Engine.generate)
        if is_alone:
            decode = replace(decode, max_batch_rows=1, check_batch_invariance=0, num_warmup_batches=1)
        return EvaluateConfig(
            model=self.routes.get(route, self.model),
            suite=SuiteConfig(name="routes", sets={CLIPS: SetConfig(self.source)}, normalizer=self.normalizer),
            decode=decode,
            run_dir=run_dir,
            resume=resume,
            device=self.device,
            precision=self.precision,
            resample_by=self.resample_by,
            seed=self.seed,
        )
