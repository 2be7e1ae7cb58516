"""The shipped tiny model: complete, small, loads with stock classes, and transcribes."""

from pathlib import Path

import jiwer
import numpy as np
import pytest
import torch
from transformers import AutoModelForMultimodalLM, AutoProcessor

from scripts.demo.clips import plan_test_clips, speak_clip
from scripts.demo.measure import transcribe
from scripts.demo.tiny_model import build_processor

CHECKPOINT = Path(__file__).resolve().parents[2] / "qasr_train/assets/tiny"


@pytest.fixture(scope="module")
def processor():
    return AutoProcessor.from_pretrained(CHECKPOINT)


@pytest.fixture(scope="module")
def model():
    torch.set_flush_denormal(True)
    return AutoModelForMultimodalLM.from_pretrained(CHECKPOINT, dtype=torch.float32).eval()


def test_it_is_a_complete_directory_of_at_most_six_megabytes():
    assert {path.name for path in CHECKPOINT.iterdir()} == {
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert sum(path.stat().st_size for path in CHECKPOINT.iterdir()) <= 6_000_000


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
