"""Models of the auto classes: CTC equal to transformers' own decoding, an encoder-decoder, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models
from transformers import (
    AutoModelForCTC,
    AutoModelForSpeechSeq2Seq,
    AutoProcessor,
    MoonshineConfig,
    MoonshineForConditionalGeneration,
    PreTrainedTokenizerFast,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Processor,
)

from qasr_train.batch import Recording
from qasr_train.errors import CheckpointError
from qasr_train.models.families import load_model
from qasr_train.models.transformers_auto.config import TransformersAutoConfig
from qasr_train.models.transformers_auto.model import TransformersAuto
from tests.helpers import tone, utterance
from tests.helpers_model import bpe
from tests.models.tiny_families import save_tiny_wav2vec2, seeded

CLIPS = [Recording(utterance(id=f"u{i}"), tone(0.5 + 1.3 * i, frequency_hz=200.0 * (i + 1))) for i in range(3)]


def load(folder: Path) -> TransformersAuto:
    model = load_model(TransformersAutoConfig(path=str(folder)), device="cpu")
    assert isinstance(model, TransformersAuto)
    return model


def save_tiny_moonshine(folder: Path) -> None:
    vocab, merges = bpe()
    backend = Tokenizer(models.BPE(dict(vocab), list(merges)))
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")
    config = MoonshineConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        encoder_num_hidden_layers=1,
        decoder_num_hidden_layers=1,
        encoder_num_attention_heads=4,
        decoder_num_attention_heads=4,
        initializer_range=0.3,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.bos_token_id,
    )
    seeded(lambda: MoonshineForConditionalGeneration(config)).save_pretrained(folder)
    Wav2Vec2Processor(Wav2Vec2FeatureExtractor(do_normalize=False), tokenizer).save_pretrained(folder)


def test_ctc_is_decoded_as_transformers_decodes_it(tmp_path: Path):
    save_tiny_wav2vec2(tmp_path)
    model = load(tmp_path)
    reference, processor = AutoModelForCTC.from_pretrained(tmp_path).eval(), AutoProcessor.from_pretrained(tmp_path)
    noise = np.random.default_rng(1).normal(0.0, 0.2, (3, 40_000)).astype(np.float32)
    noise[1, 12_000:24_000] *= 0.01
    clips = [*CLIPS, *(Recording(utterance(id=f"n{i}"), one[: 20_000 + 7_000 * i]) for i, one in enumerate(noise))]
    batch = model.collator.for_transcription(clips, language=None, use_context=False)
    texts = []
    for clip, heard in zip(clips, model.transcribe(batch, max_new_tokens=2), strict=True):
        inputs = processor(clip.waveform, sampling_rate=16_000, return_tensors="pt")
        with torch.no_grad():
            ids = reference(**inputs).logits.argmax(dim=-1)
        texts.append(processor.batch_decode(ids)[0])
        assert (heard.text, heard.is_truncated) == (texts[-1].strip(), False)
    assert max(map(len, texts)) > 2, "the limit of new tokens does not cut letters"


def test_an_encoder_decoder_is_decoded_as_transformers_decodes_it(tmp_path: Path):
    save_tiny_moonshine(tmp_path)
    model = load(tmp_path)
    reference = AutoModelForSpeechSeq2Seq.from_pretrained(tmp_path).eval()
    batch = model.collator.for_transcription(CLIPS, language=None, use_context=False)
    for clip, heard in zip(CLIPS, model.transcribe(batch, max_new_tokens=9), strict=True):
        inputs = model.processor(clip.waveform, sampling_rate=16_000, return_tensors="pt")
        ids = reference.generate(**inputs, max_new_tokens=9, do_sample=False)
        assert heard.raw_text == model.processor.tokenizer.decode(ids[0], skip_special_tokens=True)
        assert heard.num_tokens == ids.shape[1] - 1
        assert heard.text


def test_a_kind_that_wants_more_than_audio_is_refused(tmp_path: Path):
    (tmp_path / "config.json").write_text('{"model_type": "voxtral"}', encoding="utf-8")
    with pytest.raises(
        CheckpointError, match="says model_type 'voxtral', and model.family=transformers_auto opens data2vec"
    ):
        load(tmp_path)


def test_weights_that_are_missing_are_not_made_up(tmp_path: Path):
    save_tiny_wav2vec2(tmp_path)
    module = AutoModelForCTC.from_pretrained(tmp_path)
    state = {name: tensor for name, tensor in module.state_dict().items() if not name.endswith("masked_spec_embed")}
    module.save_pretrained(tmp_path, state_dict=state)
    assert load(tmp_path)
    module.save_pretrained(tmp_path, state_dict={name: t for name, t in state.items() if name != "lm_head.weight"})
    with pytest.raises(CheckpointError, match="1 tensors are missing or of another shape, the first lm_head.weight"):
        load(tmp_path)
