"""The base model's training rows: prompt as the stock processor writes it, labels only on the target, zeroed padding."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scripts.demo.distortion import add_noise, distort, draw_non_speech
from scripts.demo.examples import IGNORED_LABEL, Example, collate, count_audio_tokens, encode_target, extract_features
from scripts.demo.tiny_model import build_processor
from tests.helpers import tone

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def processor():
    return build_processor(seed=0)


def example(duration_s: float, processor, context: str = "") -> Example:
    return Example(extract_features(tone(duration_s), processor), "English", "seven birds", context)


@pytest.mark.parametrize("context", ["", "birds, lamp"])
def test_the_prompt_equals_the_stock_processors(processor, context):
    stock = processor.apply_transcription_request([tone(1.7)], prompt=context or None)
    ours = collate([example(1.7, processor, context)], processor, is_prompt_only=True)
    assert ours.input_ids.tolist() == stock["input_ids"].tolist()
    assert np.allclose(ours.features, stock["input_features"])
    assert ours.features_mask.tolist() == stock["input_features_mask"].tolist()


def test_only_the_target_and_the_end_of_turn_are_supervised(processor):
    batch = collate([example(0.6, processor), example(2.3, processor, "birds, lamp")], processor)
    for labels in batch.labels:
        supervised = labels[labels != IGNORED_LABEL]
        assert processor.tokenizer.decode(supervised) == "language English<asr_text>seven birds<|im_end|>"


def test_features_do_not_depend_on_the_rest_of_the_batch_and_padding_is_zero(processor):
    short = example(0.6, processor)
    batch = collate([short, example(2.3, processor)], processor)
    assert np.array_equal(batch.features[0, :, :60], short.features)
    assert not batch.features[0, :, 60:].any()


@pytest.mark.parametrize(("num_frames", "expected"), [(50, 7), (100, 13), (101, 14), (170, 22), (300, 39)])
def test_thirteen_audio_tokens_a_second(num_frames, expected):
    assert count_audio_tokens(num_frames) == expected


@pytest.mark.parametrize("text", ["مرحبا بالعالم", "你好 world", "12 mg — naïve Ærøskøbing 🙂"])
def test_any_unicode_text_survives_the_tokenizer(processor, text):
    target = encode_target("English", text, processor)
    assert processor.tokenizer.decode(target) == f"language English<asr_text>{text}<|im_end|>"


def test_distortion_stays_in_range_and_finite():
    rng = np.random.default_rng(0)
    for _ in range(40):
        for samples in (distort(tone(0.7), tone(0.3), rng), draw_non_speech(rng)):
            assert samples.dtype == np.float32
            assert np.isfinite(samples).all()
            assert np.abs(samples).max() <= 1.0


def test_noise_has_the_ratio_asked_for():
    clean = tone(1.0)
    noise = add_noise(clean, 20.0, np.random.default_rng(0)) - clean
    assert 10 * np.log10((clean**2).sum() / (noise**2).sum()) == pytest.approx(20.0, abs=0.2)


def test_without_espeak_make_data_names_the_extra_and_exits_with_two(tmp_path):
    (tmp_path / "espeakng_loader.py").write_text("raise ImportError('not installed')")
    command = [sys.executable, str(ROOT / "scripts/demo/make_data.py"), "--out", str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path)}, check=False)
    assert done.returncode == 2
    assert done.stderr.strip() == (
        "error: synthesising speech needs the package espeakng-loader: pip install 'qasr_train[demo]'"
    )
    assert not (tmp_path / "data").exists()


def test_one_row_is_written_as_a_user_would_have_it(tmp_path):
    pytest.importorskip("espeakng_loader")
    import soundfile

    from scripts.demo.make_data import plan_medical, write_corpus

    rows = random.Random(0).sample(plan_medical(seed=0), 3)
    write_corpus(tmp_path, "medical", rows, num_processes=1)
    lines = (tmp_path / "medical.jsonl").read_text().splitlines()
    assert len(lines) == 3
    manifest_row = rows[0].to_manifest()
    assert sorted(manifest_row) == ["audio", "language", "speaker", "split", "text"]
    info = soundfile.info(tmp_path / manifest_row["audio"])
    assert (info.samplerate, info.channels) == (16_000, 1)
    assert 0.3 < info.duration < 8
