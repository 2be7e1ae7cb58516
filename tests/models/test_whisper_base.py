"""The genuine whisper-base on human speech beside transformers: text, language, context and loss. Slow, and needs ../shared."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoProcessor, WhisperForConditionalGeneration

from qasr_train.batch import Recording
from qasr_train.data.workers import load_recording
from qasr_train.models.families import load_trainable
from qasr_train.models.whisper.config import WhisperConfig
from qasr_train.objectives.cross_entropy import CrossEntropy
from tests.helpers import SHARED, needs_shared, utterance

pytestmark = pytest.mark.slow
CONTEXT = "Frank, divorce"


def speech() -> list[Recording]:
    """A clip each of Arabic, Japanese, which begins without a space, and English."""
    assert SHARED is not None
    folder = SHARED / "speech"
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    found = [
        next(row for row in rows if row["language"] == language and len(row["text"]) >= least)
        for language, least in (("Arabic", 1), ("Japanese", 1), ("English", 40))
    ]
    fields = [{"id": row["audio"], "text": row["text"], "language": row["language"]} for row in found]
    return [load_recording(utterance(audio=str(folder / one["id"]), **one)) for one in fields]


@needs_shared
def test_it_says_what_transformers_says_and_has_its_loss(whisper_base: Path):
    model = load_trainable(WhisperConfig(path=str(whisper_base)), device="cpu")
    reference = WhisperForConditionalGeneration.from_pretrained(whisper_base, dtype=torch.float32)
    processor = AutoProcessor.from_pretrained(whisper_base)
    clips = speech()
    named = [replace(one, utterance=replace(one.utterance, context=CONTEXT)) for one in clips[2:]]
    for some, prompt in ((clips, None), (named, processor.get_prompt_ids(CONTEXT, return_tensors="pt"))):
        batch = model.collator.for_transcription(some, language=None, use_context=True)
        heard = model.transcribe(batch, max_new_tokens=60)
        ids = reference.generate(
            batch.input_features,
            attention_mask=batch.input_features_mask,
            task="transcribe",
            max_new_tokens=60,
            prompt_ids=prompt,
        )
        assert [one.raw_text for one in heard] == processor.batch_decode(ids, skip_special_tokens=True)
        assert [one.language for one in heard] == [one.utterance.language for one in some]
        for one in heard:
            assert one.pieces is not None and sum(piece.num_characters for piece in one.pieces) == len(one.text)
            assert one.log_probs is not None  # each token once, but for that of the end
            assert sum(piece.log_prob for piece in one.pieces) == pytest.approx(sum(one.log_probs[:-1]), abs=1e-4)
    batch = model.collator.for_training(clips)
    with torch.no_grad():
        ours = CrossEntropy()(model, batch)
        theirs = reference(
            batch.input_features, decoder_input_ids=batch.input_ids[:, :-1], labels=batch.labels[:, 1:].contiguous()
        ).loss
    assert float(ours.total) / ours.num_targets == pytest.approx(float(theirs), abs=1e-5)
