"""The shipped tiny models: complete and small; the newer one loads with stock classes, transcribes, and stays ended."""

import hashlib

import jiwer
import numpy as np
import pytest
import torch
from transformers import AutoModelForMultimodalLM, AutoProcessor

from scripts.demo.clips import plan_test_clips, speak_clip
from scripts.demo.measure import count_not_ended, transcribe
from scripts.demo.tiny_model import build_processor
from tests.helpers import ROOT, tone

ASSETS = ROOT / "qasr_train/assets"
CHECKPOINT = ASSETS / "tiny-2"


@pytest.fixture(scope="module")
def processor():
    return AutoProcessor.from_pretrained(CHECKPOINT)


@pytest.fixture(scope="module")
def model():
    torch.set_flush_denormal(True)
    return AutoModelForMultimodalLM.from_pretrained(CHECKPOINT, dtype=torch.float32).eval()


@pytest.mark.parametrize("name", ["tiny", "tiny-2"])
def test_it_is_a_complete_directory_of_at_most_six_megabytes(name):
    assert {path.name for path in (ASSETS / name).iterdir()} == {
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert sum(path.stat().st_size for path in (ASSETS / name).iterdir()) <= 6_000_000


def test_the_older_one_keeps_its_weights():
    """Adapters trained over `bundled:tiny` name it."""
    weights = (ASSETS / "tiny" / "model.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() == "1dd9d27bcaa418b746afe5592278ed7de167f4f3caeddd3529d8d7e5ff7ea85a"


def test_stock_classes_load_it(model, processor):
    assert type(model).__name__ == "Qwen3ASRForConditionalGeneration"
    assert type(processor).__name__ == "Qwen3ASRProcessor"
    assert 2e6 < sum(parameter.numel() for parameter in model.parameters()) < 3e6
    assert len(processor.tokenizer) <= model.config.text_config.vocab_size


def test_its_tokenizer_is_the_one_the_script_builds(processor):
    assert processor.tokenizer.get_vocab() == build_processor(seed=0).tokenizer.get_vocab()


def test_it_transcribes_unseen_sentences_of_every_language(model, processor):
    pytest.importorskip("espeakng_loader")
    clips = plan_test_clips(4, seed=77, is_timbre_held_out=False)
    outputs = transcribe(model, processor, [speak_clip(clip).astype(np.float32) / 32768 for clip in clips])
    assert jiwer.wer([clip.text for clip in clips], [output["transcription"] for output in outputs]) < 0.1
    assert sum(output["language"] == clip.language for output, clip in zip(outputs, clips, strict=True)) >= 15


def test_it_hears_no_speech_in_silence(model, processor):
    assert transcribe(model, processor, [np.zeros(16_000, np.float32)]) == [{"language": None, "transcription": ""}]


@pytest.mark.parametrize("has_system_turn", [True, False])
def test_behind_its_end_stand_ends_alone(model, processor, has_system_turn):
    """qwen-asr and crispasr stop at the published end tokens alone, which it has not: they skip what it writes on."""
    sounds = [np.zeros(16_000, np.float32), tone(0.9)]
    assert count_not_ended(model, processor, sounds, 24, has_system_turn=has_system_turn) == 0


def test_programs_that_read_the_folder_stop_at_its_end(model, processor):
    """Attention heads of 40 cannot be computed by vLLM on a CPU, of 64 they can."""
    ends = processor.tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    assert sorted(model.generation_config.eos_token_id) == sorted(model.config.eos_token_id) == ends
    assert processor.tokenizer.eos_token == "<|im_end|>"
    assert model.config.text_config.head_dim == 64
