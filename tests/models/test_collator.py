"""What a Qwen3-ASR model is given and taught. The mask is checked against the ids of the target written out by hand."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoProcessor, Qwen2Tokenizer, Qwen3ASRProcessor

from qasr_train.batch import IGNORED, Precomputed, Recording
from qasr_train.errors import DataError
from qasr_train.models.qwen3_asr.collator import Qwen3ASRCollator
from tests.helpers import SHARED, needs_shared, utterance
from tests.helpers_model import bpe, tiny_processor

# Of the published tokenizer: "language", " English", <asr_text>, "hello", " world", <|im_end|>.
REAL_TARGET = [11528, 6364, 151704, 14990, 1879, 151645]


@pytest.fixture(scope="module")
def collator() -> Qwen3ASRCollator:
    return Qwen3ASRCollator(tiny_processor())


@pytest.fixture(scope="module")
def real_processor() -> Qwen3ASRProcessor:
    return AutoProcessor.from_pretrained(SHARED / "qwen3_asr" / "native_derived")


@pytest.fixture(scope="module")
def real_collator(real_processor: Qwen3ASRProcessor) -> Qwen3ASRCollator:
    return Qwen3ASRCollator(real_processor)


def recording(duration_s: float = 1.0, seed: int = 0, **fields: object) -> Recording:
    waveform = np.random.default_rng(seed).standard_normal(round(duration_s * 16_000)).astype(np.float32) * 0.1
    return Recording(utterance(**fields), waveform)


def supervised_text(collator: Qwen3ASRCollator, batch, row: int) -> str:
    labels = batch.labels[row]
    return collator.tokenizer.decode(labels[labels != IGNORED])


@needs_shared
def test_labels_are_the_target_and_its_end_token_with_the_published_tokenizer(real_collator):
    batch = real_collator.for_training([recording(text="hello world")])
    labels = batch.labels[0].tolist()
    assert labels[-len(REAL_TARGET) :] == REAL_TARGET
    assert set(labels[: -len(REAL_TARGET)]) == {IGNORED}


@needs_shared
@pytest.mark.parametrize("context", ["", "myocardial infarction, Ramipril", "two\nlines \n"])
@pytest.mark.parametrize("duration_s", [0.2, 1.0, 3.007, 8.99])
def test_prompt_and_features_equal_the_processor_on_the_clip_alone(
    real_processor, real_collator, context: str, duration_s: float
):
    one = recording(duration_s, context=context or None)
    messages = [
        {"role": "system", "content": [{"type": "text", "text": context}]},
        {"role": "user", "content": [{"type": "audio", "audio": one.waveform}]},
    ]
    text = real_processor.apply_chat_template([messages], tokenize=False, add_generation_prompt=True)
    expected = real_processor(text=text, audio=[one.waveform], sampling_rate=16_000, return_tensors="pt")
    batch = real_collator.for_transcription([one])
    assert torch.equal(batch.input_ids, expected["input_ids"])
    assert torch.equal(batch.input_features_mask, expected["input_features_mask"].long())
    assert (batch.input_features - expected["input_features"]).abs().max() <= 1e-5


@needs_shared
def test_a_forced_language_equals_the_processors_request(real_processor, real_collator):
    one = recording(2.0)
    expected = real_processor.apply_transcription_request(
        audio=one.waveform, language="German", prompt="Fuge", processor_kwargs={"sampling_rate": 16_000}
    )
    batch = real_collator.for_transcription([replace(one, utterance=utterance(context="Fuge"))], language="German")
    assert batch.input_ids.tolist() == torch.as_tensor(expected["input_ids"]).tolist()


def test_companions_and_padding_change_neither_labels_nor_features(collator):
    short = recording(0.7, text="zero", id="short")
    others = [
        recording(4.3, 1, text="a much longer sentence than that", id="long"),
        recording(1.0, 2, text="", id="none"),
    ]
    alone, together = collator.for_training([short]), collator.for_training([others[0], short, others[1]])
    width, frames = alone.input_ids.shape[1], alone.input_features.shape[2]
    assert torch.equal(together.input_ids[1, :width], alone.input_ids[0])
    assert torch.equal(together.labels[1, :width], alone.labels[0])
    assert (together.labels[1, width:] == IGNORED).all()
    assert (together.attention_mask[1, width:] == 0).all()
    assert torch.equal(together.input_features[1, :, :frames], alone.input_features[0])
    assert not together.input_features[1, :, frames:].any()


def test_without_a_system_turn_the_prompt_begins_with_the_user(collator):
    with_turn, empty = recording(context="a, b"), recording()
    without = replace(empty, has_system_turn=False)
    prompts = [
        collator.tokenizer.decode(collator.for_training([one]).input_ids[0]) for one in (with_turn, empty, without)
    ]
    after = prompts[2]
    assert after.startswith("<|im_start|>user\n<|audio_start|>")
    assert prompts[1] == "<|im_start|>system\n<|im_end|>\n" + after
    assert prompts[0] == "<|im_start|>system\na, b<|im_end|>\n" + after
    mixed = collator.for_training([without, with_turn])
    assert supervised_text(collator, mixed, 0) == supervised_text(collator, mixed, 1)


def test_left_padding_does_not_change_a_prompt(collator):
    rows = [recording(0.7, id="a"), recording(3.1, 1, id="b")]
    together = collator.for_transcription(rows)
    for row, one in enumerate(rows):
        alone = collator.for_transcription([one])
        width = alone.input_ids.shape[1]
        assert torch.equal(together.input_ids[row, -width:], alone.input_ids[0])
        assert together.attention_mask[row].sum() == width
    assert together.labels is None


@pytest.mark.parametrize(
    ("fields", "target"),
    [
        ({"text": "Hello there.", "language": "English"}, "language English<asr_text>Hello there.<|im_end|>"),
        ({"text": "hallo", "language": None}, "language None<asr_text>hallo<|im_end|>"),
        ({"text": "", "language": "English"}, "language None<asr_text><|im_end|>"),
        ({"text": "  spaced  ", "language": "German"}, "language German<asr_text>spaced<|im_end|>"),
        ({"text": "مرحبا", "language": "Arabic"}, "language Arabic<asr_text>مرحبا<|im_end|>"),
        ({"text": "{ grey / gray } it is"}, "language English<asr_text>grey it is<|im_end|>"),
        ({"text": "hello", "context": "hello, world"}, "language English<asr_text>hello<|im_end|>"),
    ],
)
def test_supervised_text(collator, fields: dict, target: str):
    batch = collator.for_training([recording(**fields), recording(5.0, text="a longer companion")])
    assert supervised_text(collator, batch, 0) == target


def test_control_tokens_inside_text_are_plain_text(collator):
    batch = collator.for_training([recording(text="stop <|im_end|> now", context="<|im_start|>assistant")])
    labels = batch.labels[0].tolist()
    assert labels.count(collator.end_id) == 1
    assert labels[-1] == collator.end_id
    # of the system, user and assistant turns, and of no other
    assert batch.input_ids[0].tolist().count(collator.start_id) == 3


def test_a_missing_transcript_names_the_utterance(collator):
    with pytest.raises(DataError, match=r"test.jsonl:1: utterance 'u1' has no transcript"):
        collator.for_training([recording(text=None)])


def test_a_marker_in_the_transcript_is_refused(collator):
    with pytest.raises(DataError, match="holds <asr_text> in its transcript"):
        collator.for_training([recording(text="a<asr_text>b")])


@pytest.mark.parametrize(
    ("num_frames", "num_tokens"), [(50, 7), (100, 13), (101, 14), (108, 14), (109, 15), (800, 104)]
)
def test_audio_tokens_by_hand(collator, num_frames: int, num_tokens: int):
    # 13 a whole 100-frame chunk; the rest through three halvings, each rounded up: 50 -> 25 -> 13 -> 7
    assert collator.num_audio_tokens(num_frames) == num_tokens


def test_short_clips_count_half_a_second_of_audio(collator):
    batch = collator.for_training([recording(0.01)])
    assert batch.input_features_mask.sum() == 50
    assert (batch.input_ids == collator.audio_id).sum() == 7


def test_features_made_of_the_batch_equal_those_of_the_collator(collator):
    recordings = [recording(seconds, seed=i, id=str(i)) for i, seconds in enumerate([0.2, 0.7, 3.01, 11.6])]
    made = collator.for_training(recordings)
    on_device = Qwen3ASRCollator(tiny_processor(), makes_features=False)
    batch = on_device.for_training(recordings)
    assert batch.input_features.shape == (4, 128, 0) and batch.waveforms.shape == (4, round(11.6 * 16_000))
    later = on_device.with_features(batch)
    assert (later.input_features - made.input_features).abs().max() <= 1e-5
    assert later.waveforms is None and later.num_samples is None
    assert later.ids == made.ids
    for name in ("input_ids", "attention_mask", "labels", "input_features_mask", "duration_s"):
        assert torch.equal(getattr(later, name), getattr(made, name)), name
    assert on_device.with_features(made) is made


def test_features_of_a_cache_stand_where_the_collator_would_make_them(collator):
    recordings = [recording(seconds, seed=i) for i, seconds in enumerate([0.2, 2.5])]
    made = collator.for_training(recordings)
    held = [
        replace(
            r,
            waveform=np.zeros(0, np.float32),
            precomputed=Precomputed(len(r.waveform), collator.log_mel(r.waveform).half()),
        )
        for r in recordings
    ]
    batch = collator.for_training(held)
    assert torch.equal(batch.input_features, made.input_features.half().float())
    assert torch.equal(batch.input_ids, made.input_ids) and torch.equal(batch.duration_s, made.duration_s)
    mixed = collator.for_training([held[0], recordings[1]])
    assert torch.equal(mixed.input_features[1], made.input_features[1])


def test_the_collator_travels_to_workers(collator):
    copy = pickle.loads(pickle.dumps(collator))
    one = recording(text="zero")
    assert torch.equal(copy.for_training([one]).labels, collator.for_training([one]).labels)


def test_a_tokenizer_that_lacks_a_token_is_refused_by_its_name() -> None:
    vocab, merges = bpe()
    processor = tiny_processor()
    processor.tokenizer = Qwen2Tokenizer(vocab=dict(vocab), merges=list(merges), unk_token=None)
    with pytest.raises(ValueError, match=r"the tokenizer has no token '<\|audio_pad\|>'; a Qwen3-ASR tokenizer has it"):
        Qwen3ASRCollator(processor)
