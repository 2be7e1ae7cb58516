"""Owns Qwen3-ASR as training and evaluation see it: logits of the supervised tokens, greedy transcripts, saving.

Composes the transformers modules (encoder, projector, language model, head) in `forward`, in one place, so that frozen
parts run without autograd, no layer sees padding and the 151,936-wide head sees supervised positions only.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast

import torch
from peft import PeftModel
from torch import nn
from transformers import (
    PreTrainedModel,
    Qwen3ASRForConditionalGeneration,
    Qwen3ASRForTokenClassification,
    Qwen3ASRProcessor,
)

from qasr_train.batch import Batch
from qasr_train.models.base import (
    UNKNOWN_ORIGIN,
    Answer,
    Draw,
    DrawnClip,
    Hypothesis,
    ModelOrigin,
    TargetStates,
    Trainable,
    TrainingCollator,
)
from qasr_train.models.blocks.byte_level import WrittenBytes
from qasr_train.models.blocks.compiled import compile_layers
from qasr_train.models.blocks.greedy import NOTHING_SAID, RowTokens
from qasr_train.models.blocks.recompute import checkpoint_layers
from qasr_train.models.blocks.sampling import Drawing, Said, audio_index, rows_of, spread_index, with_rows
from qasr_train.models.blocks.sound import Sound
from qasr_train.models.blocks.text_pieces import pieces_of_tokens
from qasr_train.models.pretrained import save_trained
from qasr_train.models.qwen3_asr.collator import Qwen3ASRCollator
from qasr_train.models.qwen3_asr.config import PARTS, Packing, Qwen3ASRConfig
from qasr_train.models.qwen3_asr.decoding import EagerStepMaker, decode_greedily
from qasr_train.models.qwen3_asr.encoder import ENCODER_VERSION, embed, encode
from qasr_train.models.qwen3_asr.flops import flop_counter
from qasr_train.models.qwen3_asr.layouts import (
    open_description,
    open_model,
)
from qasr_train.models.qwen3_asr.original import RECOGNISER, Kind
from qasr_train.models.qwen3_asr.packing import PackedBatch, decode, pack, use_packed_attention
from qasr_train.models.qwen3_asr.step_graphs import StepGraphs
from qasr_train.models.settings import Capability, Engine, Recompute

Core = TypeVar("Core", bound=Qwen3ASRForConditionalGeneration | Qwen3ASRForTokenClassification)


class HearingCollator(Protocol):
    """What a model needs of its collator to hear. audio_id: the token of an audio position."""

    audio_id: int
    sound: Sound


class Qwen3Model(nn.Module, Generic[Core]):
    """What recogniser and aligner share. `module` is the transformers model, or the PEFT model around it once LoRA is on."""

    kind: Kind
    encoder_version = str(ENCODER_VERSION)
    module: PreTrainedModel | PeftModel
    collator: HearingCollator

    def __init__(
        self, module: PreTrainedModel | PeftModel, processor: Qwen3ASRProcessor, *, origin: ModelOrigin
    ) -> None:
        """origin: of the weights; written into adapters, whose base they are."""
        super().__init__()
        self.module, self.processor, self.origin = module, processor, origin
        self._recompute_convolutions = False
        use_packed_attention(self.core.config.audio_config, self.core.config.text_config)

    @property
    def core(self) -> Core:
        """The transformers model itself; adapters, if any, sit inside its layers."""
        inner = self.module.get_base_model() if isinstance(self.module, PeftModel) else self.module
        return cast(Core, inner)

    @property
    def audio_modules(self) -> nn.Module:
        """What stands between features and decoder: all that `encode` computes with."""
        core = self.core.model
        return nn.ModuleDict({"audio_tower": core.audio_tower, "multi_modal_projector": core.multi_modal_projector})

    def save(self, folder: Path | None) -> None:
        """Write a complete native directory, LoRA merged into what is written; the live model is untouched.

        Where LoRA is all that was trained, `adapter/` holds it too, as PEFT and vLLM load it over the base.

        Args:
            folder: None takes part in gathering weights that are sharded over processes, and writes nothing.

        Raises:
            CheckpointError: the adapter holds numbers that are not finite.
            OSError: the disk is full or the folder cannot be written.
        """
        save_trained(
            cast(Any, self.module),
            self.processor,
            folder,
            origin=self.origin,
            tied=self.kind.tied,
            kind=self.kind.adapter,
        )

    def set_gradient_checkpointing(self, recompute: Recompute) -> None:
        """Recompute these activations in the backward pass instead of keeping them."""
        core = self.core.model
        self._recompute_convolutions = recompute in (Recompute.conv, Recompute.encoder, Recompute.all)
        checkpoint_layers(core.audio_tower, recompute in (Recompute.encoder, Recompute.all))
        checkpoint_layers(core.language_model, recompute in (Recompute.decoder, Recompute.all))

    def compile_layers(self) -> None:
        """Compile the layers of encoder and decoder for training; see models/blocks/compiled.py."""
        core = self.core.model
        compile_layers([*core.audio_tower.layers, *core.language_model.layers])

    def num_encoded(self, batch: Batch) -> list[int]:
        """Positions of audio in each row of a batch on the host."""
        return batch.input_ids.eq(self.collator.audio_id).sum(1).tolist()

    def encode(self, batch: Batch) -> torch.Tensor:
        """float [A, D]: what the decoder is given for the audio positions of all rows, in row order.

        Encoder and projector run without autograd where nothing of them is trained; what a cache holds is taken as it is.
        """
        return encode(self.core, batch, self.collator.sound, recompute_convolutions=self._recompute_convolutions)


class Qwen3ASR(Qwen3Model[Qwen3ASRForConditionalGeneration]):
    """A loaded Qwen3-ASR."""

    family = "qwen3_asr"
    capabilities = frozenset(Capability) - {Capability.SLOTS}
    kind, parts = RECOGNISER, PARTS
    collator: Qwen3ASRCollator

    def __init__(
        self,
        module: PreTrainedModel | PeftModel,
        processor: Qwen3ASRProcessor,
        *,
        origin: ModelOrigin = UNKNOWN_ORIGIN,
        packing: Packing = Packing.auto,
        makes_features: bool = True,
    ) -> None:
        """origin: see `Qwen3Model`. packing: of training batches.

        makes_features: whether their collator makes the log-mel, or the model on its device.
        """
        super().__init__(module, processor, origin=origin)
        # A GPU makes the features of prompts in no time, beside a decoder that would wait for the host.
        on_gpu = self.core.device.type == "cuda"
        self.collator = Qwen3ASRCollator(processor, makes_features=makes_features, makes_prompt_features=not on_gpu)
        self.is_packed = packing is not Packing.padded
        self._step_graphs: StepGraphs | None = None
        self._written = WrittenBytes(processor.tokenizer)

    def forward(self, batch: Batch, reduce: Callable[[TargetStates], Any] = TargetStates.token_logits) -> Any:
        """What `reduce` makes of the states before the head at the supervised positions; see `Trainable`."""
        self._step_graphs = None  # training needs the memory they hold
        core, packed = self.core, pack(batch, self.collator.audio_id)
        hidden = decode(core, batch, packed, self._embed(batch, packed), is_packed=self.is_packed)
        states = hidden.index_select(0, packed.before_target)
        return reduce(TargetStates(states, core.lm_head, targets=packed.targets, row=packed.row))

    def transcribe(self, batch: Batch, *, max_new_tokens: int) -> list[Hypothesis]:
        """Greedy transcripts of a transcription batch, in row order; stops a row at `<|im_end|>` or `<|endoftext|>`."""
        return self.transcribe_rows(batch, max_new_tokens=[max_new_tokens] * len(batch))

    def transcribe_rows(
        self, batch: Batch, *, max_new_tokens: Sequence[int], engine: Engine = Engine.auto
    ) -> list[Hypothesis]:
        """`transcribe` with a limit of new tokens for each row, by the engine that is asked for."""
        begun = [NOTHING_SAID] * len(batch)
        answers = self.continue_rows(batch, begun, max_new_tokens=max_new_tokens, engine=engine)
        return [answer.said for answer in answers]

    @torch.inference_mode()
    def continue_rows(
        self, batch: Batch, begun: Sequence[RowTokens], *, max_new_tokens: Sequence[int], engine: Engine = Engine.auto
    ) -> list[Answer]:
        """See `Continuer`; the language is part of the answer."""
        core = self.core
        was_training = core.training
        core.eval()
        try:
            forced = forced_prefixes(batch.host or batch, self.collator)
            batch = self.collator.with_features(self.collator.with_beginnings(batch, [one.ids for one in begun]))
            if engine is Engine.generate:
                generated = self._generate(batch, max_new_tokens)
            else:
                generated = self._decode_loop(batch, max_new_tokens, use_graphs=engine is Engine.auto)
        except torch.OutOfMemoryError:
            self._step_graphs = None  # whoever halves the batch starts without the memory they hold
            raise
        finally:
            core.train(was_training)
        rows = zip(batch.ids, begun, generated, forced, strict=True)
        return [self._answer(utterance_id, before, new, prefix) for utterance_id, before, new, prefix in rows]

    def token_bytes(self, token_id: int) -> bytes:
        """See `Continuer`."""
        return self._written(token_id)

    @torch.inference_mode()
    def draw(self, batch: Batch, drawing: Drawing, *, limits: Sequence[int]) -> list[DrawnClip]:
        """See `Sampler`; the language is part of what is said."""
        core = self.core
        was_training = core.training
        core.eval()
        try:
            prompts = [row.prompt for row in rows_of(batch)]
            asked = with_rows(batch, [Said(clip, prompt) for clip, prompt in enumerate(prompts)], pad_id=self.pad_id)
            asked = asked.to(core.device)
            packed = pack(asked, self.collator.audio_id)
            chooser = drawing.chooser(self.collator.audio_id, self._end_ids)
            steps, last = EagerStepMaker(core, chooser).begin(self._embed(asked, packed), packed.rows.lengths)
            rows = spread_index(len(prompts), drawing.num_each, last.device)
            steps.spread(rows)
            first = chooser(core.lm_head(last)[rows])
            groups = drawing.groups(steps, chooser, first, limits, self._end_ids)
        finally:
            core.train(was_training)
        return [
            DrawnClip(
                prompt,
                [Draw(tuple(one.ids), self._hypothesis(utterance_id, RowTokens(one.ids, []), "")) for one in group],
            )
            for utterance_id, prompt, group in zip(batch.ids, prompts, groups, strict=True)
        ]

    @property
    def pad_id(self) -> int:
        """See `Sampler`."""
        return self.collator.pad_id

    def flop_counter(self) -> Callable[[Batch], float]:
        """What counts the operations of a training batch; see flops.py."""
        return flop_counter(cast(nn.Module, self.module), self.core.config)

    def _embed(self, batch: Batch, packed: PackedBatch) -> torch.Tensor:
        """float [P, D]: embeddings of the tokens of all rows, with the encoder's output where the audio placeholders stand."""
        encoded = self.encode(batch)
        if batch.audio_of is not None:
            num_frames = (batch.host or batch).input_features_mask.sum(-1).tolist()
            lengths = [self.collator.num_audio_tokens(frames) for frames in num_frames]
            encoded = encoded.index_select(0, audio_index(batch.audio_of, lengths, encoded.device))
        return embed(self.core, batch, packed, encoded)

    def _decode_loop(self, batch: Batch, limits: Sequence[int], *, use_graphs: bool = True) -> list[RowTokens]:
        """The tokens of each row, by the loop of decoding.py; its steps are CUDA graphs where that can be.

        Not under autocast, which frees the weights it has cast while a graph still reads them.
        """
        is_graphed = use_graphs and batch.input_ids.is_cuda and not torch.is_autocast_enabled("cuda")
        if is_graphed and self._step_graphs is None:
            self._step_graphs = StepGraphs(self.core)
        packed = pack(batch, self.collator.audio_id)
        return decode_greedily(
            self.core,
            self._embed(batch, packed),
            packed.rows.lengths,
            limits=limits,
            end_ids=self._end_ids,
            maker=self._step_graphs if is_graphed else None,
        )

    def _generate(self, batch: Batch, limits: Sequence[int]) -> list[RowTokens]:
        """The same ids by transformers: every row runs until the last is done, and is then cut at its own limit."""
        generate = cast(Any, self.core).generate  # transformers types its `self` as a protocol the class does not meet
        generated = generate(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            input_features=batch.input_features.to(self.core.dtype),
            input_features_mask=batch.input_features_mask,
            max_new_tokens=max(limits),
            do_sample=False,
            num_beams=1,
            eos_token_id=self._end_ids,
            pad_token_id=self.collator.pad_id,
        )[:, batch.input_ids.shape[1] :].tolist()
        return [RowTokens(ids[:limit], []) for ids, limit in zip(generated, limits, strict=True)]

    @property
    def _end_ids(self) -> list[int]:
        return [self.collator.end_id, self.collator.pad_id]

    def _answer(self, utterance_id: str, begun: RowTokens, new: RowTokens, prefix: str) -> Answer:
        all_of_it = begun.followed_by(new)
        said = self._hypothesis(utterance_id, all_of_it, prefix)
        tokens = all_of_it.first(said.num_tokens - (not said.is_truncated))  # without the end token
        return Answer(tokens, replace(said, num_tokens=said.num_tokens - len(begun.ids)))

    def _hypothesis(self, utterance_id: str, tokens: RowTokens, prefix: str) -> Hypothesis:
        ends = [i for i, token in enumerate(tokens.ids) if token in self._end_ids]
        kept = tokens.ids[: ends[0]] if ends else tokens.ids
        marker = self.collator.asr_text_id
        # Without the marker all of it is the transcript; with a forced language the marker stands in the prompt.
        begins = kept.index(marker) + 1 if not prefix and marker in kept else 0
        raw_text = prefix + self.collator.tokenizer.decode(kept, skip_special_tokens=True)
        parsed = cast(dict[str, Any], self.processor.parse_output(raw_text))  # a list only for a list
        written = zip(map(self._written, kept[begins:]), tokens.log_probs[begins:], strict=False)
        return Hypothesis(
            id=utterance_id,
            text=parsed["transcription"],
            language=parsed["language"],
            raw_text=raw_text,
            num_tokens=len(kept) + bool(ends),
            is_truncated=not ends,
            log_probs=tuple(tokens.log_probs[begins:]) if tokens.log_probs else None,
            pieces=pieces_of_tokens(parsed["transcription"], written) if tokens.log_probs else None,
        )


def load(
    config: Qwen3ASRConfig, *, device: torch.device | str, dtype: torch.dtype, makes_features: bool = True
) -> Trainable:
    """Load a checkpoint of any layout onto a device; makes_features: see `load_trainable`.

    Raises:
        CheckpointError: the directory is incomplete, damaged, of another family, or not there.
    """
    module, processor, origin = open_model(
        config.path, config.revision, config.base, device=device, dtype=dtype, kind=RECOGNISER
    )
    return Qwen3ASR(module, processor, origin=origin, packing=config.packing, makes_features=makes_features)


def load_collator(config: Qwen3ASRConfig) -> TrainingCollator:
    """The collator of a checkpoint of any layout, without its weights; raises as `load` does."""
    _, processor = open_description(config.path, RECOGNISER, revision=config.revision, base=config.base)
    return Qwen3ASRCollator(processor)


def forced_prefixes(batch: Batch, collator: Qwen3ASRCollator) -> list[str]:
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
