"""Going on with a given beginning of an answer: token for token what transformers' `generate` says after it; and streams."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GenerationConfig, GenerationMixin, WhisperForConditionalGeneration

from qasr_train.batch import Recording
from qasr_train.errors import ConfigError
from qasr_train.models.base import Answer, Continuer
from qasr_train.models.blocks.greedy import NOTHING_SAID, RowTokens, token_limit
from qasr_train.models.families import load_model
from qasr_train.models.qwen3_asr.config import Qwen3ASRConfig
from qasr_train.models.qwen3_asr.model import Qwen3ASR
from qasr_train.models.settings import Engine
from qasr_train.models.whisper.config import WhisperConfig, Window
from qasr_train.models.whisper.model import Whisper
from qasr_train.streaming.session import open_stream
from qasr_train.streaming.settings import StreamPolicy
from tests.helpers import tone, utterance
from tests.helpers_model import tiny_model, tiny_processor

DURATIONS_S = [0.6, 3.0, 1.1]
BEGUN = [RowTokens(ids, [-1.0] * len(ids)) for ids in ([40, 41, 42], [], [99])]


def clips() -> list[Recording]:
    """Noise over tones, the second with a context."""
    rng = np.random.default_rng(0)
    return [
        Recording(
            utterance(id=f"u{i}", context="two small pills" if i == 1 else None),
            (tone(seconds, frequency_hz=150.0 * (i + 1)) + 0.3 * rng.standard_normal(round(seconds * 16_000))).astype(
                np.float32
            ),
        )
        for i, seconds in enumerate(DURATIONS_S)
    ]


@pytest.fixture(scope="module")
def qwen() -> Qwen3ASR:
    core = tiny_model()
    with torch.no_grad():
        for parameter in core.model.language_model.layers.parameters():
            if parameter.ndim > 1:
                parameter.mul_(5)  # so that it does not say one token for ever
    return Qwen3ASR(core, tiny_processor())


@pytest.fixture(scope="module")
def whisper(tiny_whisper: Path) -> Whisper:
    model = load_model(WhisperConfig(path=str(tiny_whisper)), device="cpu")
    assert isinstance(model, Whisper)
    return model


def answered(model: Continuer, begun: list[RowTokens], rows: list[int] | None = None, **told: Any) -> list[Answer]:
    chosen = clips() if rows is None else [clips()[row] for row in rows]
    batch = model.collator.for_transcription(chosen, **{"language": None, "use_context": True} | told)
    return model.continue_rows(batch, begun, max_new_tokens=[9] * len(chosen))


@pytest.mark.parametrize("row", [0, 1, 2])
@pytest.mark.parametrize("language", [None, "French"])
def test_qwen3_asr_goes_on_as_generate_does_with_the_beginning_in_its_prompt(
    qwen: Qwen3ASR, row: int, language: str | None
) -> None:
    batch = qwen.collator.for_transcription([clips()[row]], language=language)
    begun = torch.tensor([BEGUN[row].ids], dtype=torch.int64)
    generate: Any = qwen.core.generate
    ids = generate(
        input_ids=torch.cat([batch.input_ids, begun], dim=1),
        attention_mask=torch.cat([batch.attention_mask, torch.ones_like(begun)], dim=1),
        input_features=batch.input_features,
        input_features_mask=batch.input_features_mask,
        max_new_tokens=9,
        do_sample=False,
        eos_token_id=qwen._end_ids,
        pad_token_id=qwen.pad_id,
    )[0, batch.input_ids.shape[1] :].tolist()
    ends = [place for place, id_ in enumerate(ids) if id_ in qwen._end_ids]
    answer = answered(qwen, BEGUN, language=language)[row]
    assert answer.tokens.ids == (ids[: ends[0]] if ends else ids)
    assert answer.said.num_tokens == len(ids) - len(BEGUN[row].ids) and answer.said.is_truncated is (not ends)
    assert answer.said.raw_text.endswith(qwen.collator.tokenizer.decode(answer.tokens.ids, skip_special_tokens=True))
    assert len(answer.tokens.log_probs) == len(answer.tokens.ids)


@pytest.mark.parametrize("row", [0, 1, 2])
def test_whisper_goes_on_as_generate_does_with_the_beginning_in_its_decoder_ids(
    tiny_whisper: Path, whisper: Whisper, row: int
) -> None:
    """What is not said first (a space, the end) may follow a beginning; transformers counts from the end of its prompt."""
    reference = WhisperForConditionalGeneration.from_pretrained(tiny_whisper)
    batch = whisper.collator.for_transcription([clips()[row]], language="German", use_context=False)
    prompt = torch.cat([batch.input_ids, torch.tensor([BEGUN[row].ids], dtype=torch.int64)], dim=1)
    settings = GenerationConfig(
        max_new_tokens=9,
        do_sample=False,
        decoder_start_token_id=whisper.tokens.sot_id,
        eos_token_id=whisper.tokens.end_id,
        pad_token_id=whisper.tokens.end_id,
        suppress_tokens=whisper.generation.get("suppress_tokens"),
        begin_suppress_tokens=None if BEGUN[row].ids else whisper.generation.get("begin_suppress_tokens"),
    )
    general: Any = GenerationMixin.generate
    ids = general(reference, batch.input_features, decoder_input_ids=prompt, generation_config=settings)[
        0, batch.input_ids.shape[1] :
    ].tolist()
    end_id = whisper.tokens.end_id
    answer = answered(whisper, BEGUN, language="German", use_context=False)[row]
    assert answer.tokens.ids == (ids[: ids.index(end_id)] if end_id in ids else ids)
    assert answer.said.is_truncated is (end_id not in ids)


@pytest.mark.parametrize("family", ["qwen", "whisper"])
def test_a_row_goes_on_alike_alone_and_in_a_batch(family: str, request: pytest.FixtureRequest) -> None:
    model: Continuer = request.getfixturevalue(family)
    together = answered(model, BEGUN)
    for row in range(3):
        [alone] = answered(model, [BEGUN[row]], [row])
        assert (alone.tokens.ids, alone.said.raw_text) == (together[row].tokens.ids, together[row].said.raw_text)
        assert alone.tokens.ids[: len(BEGUN[row].ids)] == BEGUN[row].ids


def test_whisper_with_a_beginning_is_not_silent_and_has_room_for_a_token(tiny_whisper: Path) -> None:
    model = load_model(WhisperConfig(path=str(tiny_whisper), no_speech_threshold=1e-9), device="cpu")
    assert isinstance(model, Whisper)
    silent, said = answered(model, [NOTHING_SAID, BEGUN[0]], [0, 0], language="German", use_context=False)
    assert silent.tokens.ids == [] and said.tokens.ids[:3] == BEGUN[0].ids and len(said.tokens.ids) > 3
    full, short = answered(model, [RowTokens([40] * 60, []), BEGUN[0]], [0, 0], language="German", use_context=False)
    assert full.tokens.ids == [40] * 60 and full.said.is_truncated  # the prompt takes 4 of 64 positions
    assert short.tokens.ids == said.tokens.ids


def test_transformers_does_not_go_on_with_what_whisper_has_begun(whisper: Whisper) -> None:
    batch = whisper.collator.for_transcription([clips()[0]], language="German", use_context=False)
    with pytest.raises(ConfigError, match="does not go on"):
        whisper.continue_rows(batch, [BEGUN[0]], max_new_tokens=[5], engine=Engine.generate)


def offline(model: Any, waveform: np.ndarray) -> tuple[str, str | None]:
    batch = model.collator.for_transcription([Recording(utterance(), waveform)], language=None, use_context=False)
    [said] = model.transcribe(batch, max_new_tokens=token_limit(len(waveform) / 16_000))
    return said.text, said.language


@pytest.mark.parametrize("window", [None, Window.full, Window.clip])
def test_a_clip_within_a_chunk_gives_what_it_gives_offline(tiny_whisper: Path, window: Window | None) -> None:
    """Whether it ends before the chunk does or with it."""
    config = (
        Qwen3ASRConfig(path="bundled:tiny-2")
        if window is None
        else WhisperConfig(path=str(tiny_whisper), window=window)
    )
    model = load_model(config, device="cpu")
    waveform = clips()[1].waveform
    for chunk_s in (3.0, 4.0):
        stream = open_stream(model, StreamPolicy(chunk_s=chunk_s))
        stream.feed(waveform)
        update = stream.finish()
        assert (update.text, update.language) == offline(model, waveform)
