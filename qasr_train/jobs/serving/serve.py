"""Owns the job of `recipes/serve.py`: a model behind a port, until Ctrl-C.

Input: ServeConfig. Output: answers over the connection; nothing is written, and the log holds ids, seconds and statuses alone.
"""

import sys
from dataclasses import replace
from functools import partial
from importlib.util import find_spec

from qasr_train.errors import ConfigError
from qasr_train.jobs.settings.serving.serve import ServeConfig
from qasr_train.models.base import Recogniser
from qasr_train.models.families import load_model
from qasr_train.models.found import model_as_found
from qasr_train.models.locations import SMALL_FILES, resolve_checkpoint
from qasr_train.models.settings import Capability
from qasr_train.models.settings import Engine as DecodingLoop
from qasr_train.run.device import Machine, join_machine
from qasr_train.serving.engine import Engine
from qasr_train.serving.settings import is_loopback
from qasr_train.streaming.session import StreamSession, open_stream
from qasr_train.streaming.settings import StreamingConfig, StreamPolicy
from qasr_train.transcription.recordings.words import aligner_at, open_word_aligner
from qasr_train.transcription.settings import AUTO, Decoding

_PACKAGES = ("fastapi", "uvicorn", "python_multipart", "websockets")


def serve(config: ServeConfig) -> int:
    """Serve as the config says, until SIGINT or SIGTERM; returns the exit status.

    Raises:
        UserError: a package is missing, the address is taken, no model or aligner lies at its path.
    """
    # 1 whatever can be refused before a weight is read
    require_packages()
    from qasr_train.serving.app import build_app
    from qasr_train.serving.server import bind, serve_until_stopped, url_of

    config = replace(config, model=model_as_found(config.model))
    resolve_checkpoint(config.model.path, config.model.revision, files=SMALL_FILES)
    machine = join_machine(config.device, config.precision)
    if machine.processes.num_processes > 1:
        raise ConfigError("serve keeps one model in one process; start it without accelerate launch or torchrun")
    with bind(config.host, config.port) as bound:
        # 2 the models
        engine = make_engine(config, machine)

        # 3 answering
        if not is_loopback(config.host):
            print(
                f"host={config.host}: everybody who reaches this machine may send recordings to it and take its time, without a "
                "password and without encryption",
                file=sys.stderr,
            )
        print(f"{engine.ability.name} is served at {url_of(bound)}/ ; Ctrl-C ends it", file=sys.stderr, flush=True)
        app = build_app(engine, config.limits, config.subtitles.layout(), [config.host, *config.allowed_hosts])
        serve_until_stopped(app, bound, idle_s=config.limits.idle_s)
        engine.close()
    print("stopped", file=sys.stderr)
    return 0


def require_packages() -> None:
    """ConfigError where the extra is not installed."""
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise ConfigError(f"serve needs {', '.join(missing)}, not installed here: pip install 'qasr_train[serve]'")


def make_engine(config: ServeConfig, machine: Machine) -> Engine:
    """The models of a config, loaded.

    Raises:
        ConfigError: settings of decoding that the model cannot follow. CheckpointError: a model or an aligner does not load.
    """
    assert config.name is not None, "the config names it"
    # Streaming is for the microphone; an upload is there as a whole.
    decoding = replace(config.decode, streaming=None).decoding(config.model.max_duration_s)
    policy = (config.decode.streaming or StreamingConfig()).policy(config.model.max_duration_s)
    aligner = None if config.aligner.path is None else aligner_at(config.aligner.path)
    model = load_model(config.model, device=machine.device, dtype=machine.dtype)
    align = None
    if aligner is not None:
        align = open_word_aligner(aligner, machine, config.aligner.min_confidence)
    can_listen = Capability.STREAMING in model.capabilities and decoding.engine is not DecodingLoop.generate
    can_listen = can_listen and config.limits.max_live_sessions > 0
    return Engine(
        config.name,
        model,
        decoding,
        new_languages=config.decode.new_languages,
        align=align,
        open_live=partial(_open_live, model, decoding, policy) if can_listen else None,
    )


def _open_live(
    model: Recogniser, decoding: Decoding, policy: StreamPolicy, language: str | None, context: str
) -> StreamSession:
    """A session by the settings of decoding, in the language it is told, else in that of the settings."""
    told = None if decoding.language == AUTO else decoding.language
    return open_stream(
        model,
        policy,
        language=language or told,
        context=context,
        has_system_turn=decoding.prompt.has_system_turn(has_context=bool(context)),
        max_new_tokens=decoding.max_new_tokens,
        engine=decoding.engine,
    )
