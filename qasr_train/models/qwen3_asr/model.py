"""Owns Qwen3-ASR as training and evaluation see it: logits of the supervised tokens, greedy transcripts, saving.

Composes the transformers modules (encoder, projector, language model, head) in `forward`, in one place, so that frozen
parts run without autograd and the 151,936-wide head sees supervised positions only.
"""

from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel, Qwen3ASRForConditionalGeneration, Qwen3ASRProcessor

from qasr_train.batch import IGNORED, Batch
from qasr_train.errors import CheckpointError
from qasr_train.models.adapters import has_only_adapters, save_adapter
from qasr_train.models.base import Capability, Hypothesis, TokenLogits
from qasr_train.models.folders import resolve_checkpoint
from qasr_train.models.qwen3_asr.collator import Qwen3ASRCollator
from qasr_train.models.qwen3_asr.config import Qwen3ASRConfig
from qasr_train.models.qwen3_asr.layouts import (
    Layout,
    detect_layout,
    find_base,
    load_checkpoint,
    load_checkpoint_with_adapter,
    load_processor,
    save_native,
)


class Qwen3ASR(nn.Module):
    """A loaded Qwen3-ASR. `module` is the transformers model, or the PEFT model around it once LoRA is on."""

    family = "qwen3_asr"
    capabilities = frozenset(Capability)
    module: PreTrainedModel | PeftModel
    collator: Qwen3ASRCollator

    def __init__(self, module: PreTrainedModel | PeftModel, processor: Qwen3ASRProcessor, *, path: str = "") -> None:
        """path: the directory or hub id it came from, written into adapters as their base."""
        super().__init__()
        self.module = module
        self.processor = processor
        self.path = path
        self.collator = Qwen3ASRCollator(processor)

    @property
    def core(self) -> Qwen3ASRForConditionalGeneration:
        """The transformers model itself; adapters, if any, sit inside its layers."""
        inner = self.module.get_base_model() if isinstance(self.module, PeftModel) else self.module
        return cast(Qwen3ASRForConditionalGeneration, inner)

    def forward(self, batch: Batch) -> TokenLogits:
        """Next-token logits of the supervised positions of a training batch; see `TokenLogits`."""
        core = self.core
        hidden = core.model.language_model(
            inputs_embeds=self._embed(batch), attention_mask=batch.attention_mask, use_cache=False
        ).last_hidden_state
        assert batch.labels is not None, "forward() wants a training batch"
        is_target = batch.labels[:, 1:] != IGNORED
        logits = core.lm_head(hidden[:, :-1][is_target])
        row = torch.arange(len(is_target), device=is_target.device)[:, None].expand_as(is_target)[is_target]
        return TokenLogits(logits=logits, targets=batch.labels[:, 1:][is_target], row=row)

    @torch.inference_mode()
    def transcribe(self, batch: Batch, *, max_new_tokens: int) -> list[Hypothesis]:
        """Greedy transcripts of a transcription batch, in row order; stops a row at `<|im_end|>` or `<|endoftext|>`."""
        core, collator = self.core, self.collator
        generate = cast(Any, core).generate  # transformers types its `self` as a protocol the class does not meet
        was_training = core.training
        core.eval()
        end_ids = [collator.end_id, collator.pad_id]
        generated = generate(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            input_features=batch.input_features.to(core.dtype),
            input_features_mask=batch.input_features_mask,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            eos_token_id=end_ids,
            pad_token_id=collator.pad_id,
        )[:, batch.input_ids.shape[1] :].tolist()
        core.train(was_training)
        forced = _forced_prefixes(batch, collator)
        return [
            self._hypothesis(utterance_id, ids, prefix)
            for utterance_id, ids, prefix in zip(batch.ids, generated, forced, strict=True)
        ]

    def save(self, folder: Path | None) -> None:
        """Write a complete native directory, LoRA merged into what is written; the live model is untouched.

        Where LoRA is all that was trained, `adapter/` holds it too, as PEFT and vLLM load it over the base.

        Args:
            folder: None takes part in gathering weights that are sharded over processes, and writes nothing.

        Raises:
            CheckpointError: the adapter holds numbers that are not finite.
            OSError: the disk is full or the folder cannot be written.
        """
        save_native(cast(Qwen3ASRForConditionalGeneration | PeftModel, self.module), self.processor, folder)
        if has_only_adapters(self.module):
            save_adapter(cast(PeftModel, self.module), None if folder is None else folder / "adapter", base=self.path)

    def set_gradient_checkpointing(self, enabled: bool) -> None:
        """Recompute layers in the backward pass instead of keeping their activations."""
        layers = [layer for layer in self.core.modules() if getattr(layer, "gradient_checkpointing", None) is not None]
        if enabled == any(layer.gradient_checkpointing for layer in layers):
            return
        # Newer transformers call the pair `activation_...` and warn of the old name.
        new = f"activation_checkpointing_{'enable' if enabled else 'disable'}"
        name = new if hasattr(self.core, new) else new.replace("activation", "gradient")
        settings = ({"use_reentrant": False},) if enabled else ()
        getattr(self.core, name)(*settings)

    def _embed(self, batch: Batch) -> torch.Tensor:
        """float [B, T, D]: token embeddings, with the encoder's output where the audio placeholders stand."""
        core = self.core.model
        is_trained = any(
            p.requires_grad for part in (core.audio_tower, core.multi_modal_projector) for p in part.parameters()
        )
        with nullcontext() if is_trained else torch.no_grad():
            audio = core.get_audio_features(
                batch.input_features.to(self.core.dtype), batch.input_features_mask
            ).pooler_output
        embeds = core.get_input_embeddings()(batch.input_ids)
        is_audio = (batch.input_ids == self.collator.audio_id)[..., None].expand_as(embeds)
        return embeds.masked_scatter(is_audio, audio.to(embeds.dtype))

    def _hypothesis(self, utterance_id: str, ids: list[int], prefix: str) -> Hypothesis:
        ends = [i for i, token in enumerate(ids) if token in (self.collator.end_id, self.collator.pad_id)]
        kept = ids[: ends[0]] if ends else ids
        raw_text = prefix + self.collator.tokenizer.decode(kept, skip_special_tokens=True)
        parsed = cast(dict[str, Any], self.processor.parse_output(raw_text))  # a list only for a list
        return Hypothesis(
            id=utterance_id,
            text=parsed["transcription"],
            language=parsed["language"],
            raw_text=raw_text,
            num_tokens=len(kept) + bool(ends),
            is_truncated=not ends,
        )


def load(config: Qwen3ASRConfig, *, device: torch.device | str, dtype: torch.dtype) -> Qwen3ASR:
    """Load a checkpoint of any layout onto a device.

    Raises:
        CheckpointError: the directory is incomplete, damaged, of another family, or not there.
    """
    folder = resolve_checkpoint(config.path, config.revision)
    module: PreTrainedModel | PeftModel
    if detect_layout(folder) is Layout.ADAPTER:
        module, processor = load_checkpoint_with_adapter(folder, base=config.base, dtype=dtype)
    elif config.base is not None:
        raise CheckpointError(
            f"model.base={config.base}: only an adapter has a base, and {config.path} is a whole model"
        )
    else:
        module, processor = load_checkpoint(folder, dtype=dtype)
    cast(nn.Module, module).to(device)  # transformers decorates `to` in a way that type checkers misread
    return Qwen3ASR(module.eval(), processor, path=config.path)


def load_collator(config: Qwen3ASRConfig) -> Qwen3ASRCollator:
    """The collator of a checkpoint of any layout, without its weights; raises as `load` does."""
    folder = resolve_checkpoint(config.path, config.revision)
    if detect_layout(folder) is Layout.ADAPTER:
        folder = find_base(folder, config.base)
    return Qwen3ASRCollator(load_processor(folder))


def _forced_prefixes(batch: Batch, collator: Qwen3ASRCollator) -> list[str]:
    """What each prompt already says of the answer ("language English<asr_text>"), or "" where nothing is forced."""
    marker = collator.asr_text_id
    prefixes = []
    for ids in batch.input_ids.tolist():
        if ids[-1] != marker:
            prefixes.append("")
            continue
        begins = len(ids) - ids[::-1].index(collator.start_id)
        spoken = collator.tokenizer.decode(ids[begins:], skip_special_tokens=True)
        prefixes.append(spoken.removeprefix("assistant\n"))
    return prefixes
