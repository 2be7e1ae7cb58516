"""The prompts that clients send, written out by hand, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoProcessor, Qwen3ASRProcessor

from qasr_train.batch import Recording
from qasr_train.errors import ConfigError
from qasr_train.models.qwen3_asr.collator import Qwen3ASRCollator
from qasr_train.transcription.predictions import load_predictions
from qasr_train.transcription.prompts import PromptForm, prompted, refuse_lost_contexts, refuse_prompt
from qasr_train.transcription.settings import DecodeConfig
from tests.helpers import SHARED, needs_shared, utterance
from tests.helpers_fake_model import FakeModel
from tests.helpers_model import tiny_processor
from tests.helpers_transcription import run_maker, spoken, transcribe_all

AUDIO = "<|audio_start|>" + "<|audio_pad|>" * 13 + "<|audio_end|>"  # of one second
USER = f"<|im_start|>user\n{AUDIO}<|im_end|>\n<|im_start|>assistant\n"
EMPTY, TERMS = "<|im_start|>system\n<|im_end|>\n", "<|im_start|>system\nRamipril, stent<|im_end|>\n"
GERMAN = "language German<asr_text>"


def prompt(
    processor: Qwen3ASRProcessor, form: PromptForm, *, context: str | None, language: str | None, use_context: bool
) -> list[int]:
    """The ids that a clip of one second is transcribed with."""
    given = [
        prompted(Recording(utterance(context=context), np.zeros(16_000, np.float32)), form, use_context=use_context)
    ]
    batch = Qwen3ASRCollator(processor).for_transcription(given, language=language, use_context=use_context)
    ids: list[int] = batch.input_ids[0].tolist()
    return ids


@pytest.mark.parametrize(
    ("form", "context", "language", "use_context", "expected"),
    [
        # our training and qwen-asr: the turn is always there
        (PromptForm.own, None, None, True, EMPTY + USER),
        (PromptForm.own, None, "German", True, EMPTY + USER + GERMAN),
        (PromptForm.own, "Ramipril, stent", None, True, TERMS + USER),
        (PromptForm.own, "Ramipril, stent", None, False, EMPTY + USER),
        # /v1/audio/transcriptions of vllm serve: without and with `language`, without and with `prompt`
        (PromptForm.served, None, None, True, USER),
        (PromptForm.served, "", None, True, USER),
        (PromptForm.served, None, "German", True, USER + GERMAN),
        (PromptForm.served, "Ramipril, stent", None, True, TERMS + USER),
        (PromptForm.served, "Ramipril, stent", "German", True, TERMS + USER + GERMAN),
        (PromptForm.served, "Ramipril, stent", None, False, USER),
        # its /v1/realtime
        (PromptForm.no_turn, None, None, True, USER),
        (PromptForm.no_turn, "Ramipril, stent", "German", False, USER + GERMAN),
    ],
)
def test_prompts_are_those_that_clients_send(
    form: PromptForm, context: str | None, language: str | None, use_context: bool, expected: str
) -> None:
    processor = tiny_processor()
    ids = prompt(processor, form, context=context, language=language, use_context=use_context)
    assert processor.tokenizer.decode(ids) == expected


@pytest.fixture(scope="module")
def published() -> Any:
    return AutoProcessor.from_pretrained(SHARED / "qwen3_asr" / "native_derived")


@needs_shared
@pytest.mark.parametrize("language", [None, "German"])
@pytest.mark.parametrize("context", [None, "Ramipril, stent"])
def test_the_served_prompt_has_the_ids_that_vllm_makes_with_the_published_tokenizer(
    published: Any, context: str | None, language: str | None
) -> None:
    processor = published
    ids = prompt(processor, PromptForm.served, context=context, language=language, use_context=True)
    # vLLM 0.32 encodes the whole string at once, with one placeholder that it multiplies afterwards.
    system = f"<|im_start|>system\n{context}<|im_end|>\n" if context else ""
    told = f"language {language}<asr_text>" if language else ""
    user = "<|im_start|>user\n<|audio_start|><|audio_pad|><|audio_end|><|im_end|>\n<|im_start|>assistant\n"
    encoded = processor.tokenizer.encode(system + user + told)
    at = encoded.index(151676)  # <|audio_pad|>
    assert ids == encoded[:at] + [151676] * 13 + encoded[at + 1 :]
    if not (context or language):
        # <|im_start|> user \n <|audio_start|> ... <|audio_end|> <|im_end|> \n <|im_start|> assistant \n
        assert ids == [151644, 872, 198, 151669, *[151676] * 13, 151670, 151645, 198, 151644, 77091, 198]


def test_every_row_says_which_form_it_was_transcribed_with_unless_it_is_the_familys_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = spoken(tmp_path, [1.0, 1.0])
    clips[1] = replace(clips[1], context="Ramipril")
    for form, turns, said in (
        (PromptForm.own, [True, True], None),
        (PromptForm.served, [False, True], "served"),
    ):
        model = FakeModel()
        predictions = transcribe_all(model, clips, prompt=form)
        assert model.collator.has_turn == [turns]
        assert [(one.prompt, one.context) for one in predictions] == [(said, None), (said, "Ramipril")]
    make = run_maker(tmp_path, monkeypatch)
    run = make(decode=DecodeConfig(prompt=PromptForm.served))
    run.open()
    run.transcribe(lambda prediction: (0, 0))
    lines = (run.run_dir / "predictions.jsonl").read_text().splitlines()
    assert all('"prompt": "served"' in line for line in lines)
    assert {row.prompt for row in load_predictions(run.run_dir).predictions} == {"served"}


def test_the_pieces_of_a_long_recording_have_its_prompt(tmp_path: Path) -> None:
    model = FakeModel()
    transcribe_all(model, spoken(tmp_path, [12.0], context="stent"), prompt=PromptForm.served, max_duration_s=5.0)
    assert {has for batch in model.collator.has_turn for has in batch} == {True}
    model = FakeModel()
    transcribe_all(model, spoken(tmp_path, [12.0]), prompt=PromptForm.served, max_duration_s=5.0)
    assert {has for batch in model.collator.has_turn for has in batch} == {False}


@pytest.mark.parametrize("family", ["whisper", "parakeet_tdt", "canary_qwen", "transformers_auto"])
def test_a_family_without_a_system_turn_refuses_the_forms_without_one(family: str) -> None:
    refuse_prompt(PromptForm.own, family)
    refuse_prompt(PromptForm.served, "qwen3_asr")
    with pytest.raises(
        ConfigError,
        match=f"^decode.prompt=served: {family} models have no system turn that could be left out; set decode.prompt=own$",
    ):
        refuse_prompt(PromptForm.served, family)


def test_a_command_makes_its_own_prompts() -> None:
    with pytest.raises(ConfigError, match="decode.prompt=no_turn: a model.command makes its own prompts"):
        refuse_prompt(PromptForm.no_turn, "command")


def test_contexts_are_refused_not_lost_where_no_turn_can_hold_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = [utterance(id="plain"), utterance(id="offered", context="stent")]
    for form in (PromptForm.own, PromptForm.served):
        refuse_lost_contexts(form, clips, use_context=True, where="set 'a'")
    refuse_lost_contexts(PromptForm.no_turn, clips, use_context=False, where="set 'a'")
    refuse_lost_contexts(PromptForm.no_turn, clips[:1], use_context=True, where="set 'a'")
    words = (
        "decode.prompt=no_turn: set 'a' gives contexts .the first is that of 'offered'.*set decode.prompt=served .*"
        "or decode.use_context=false"
    )
    with pytest.raises(ConfigError, match=words):
        refuse_lost_contexts(PromptForm.no_turn, clips, use_context=True, where="set 'a'")
    run = run_maker(tmp_path, monkeypatch)(decode=DecodeConfig(prompt=PromptForm.no_turn))
    run = replace(run, sets=[replace(run.sets[0], utterances=spoken(tmp_path, [1.0], context="stent"))])
    with pytest.raises(ConfigError, match="set 'a' gives contexts .the first is that of 'u0'"):
        run.open()
    assert not run.run_dir.exists()  # the name is free for the command, mended
