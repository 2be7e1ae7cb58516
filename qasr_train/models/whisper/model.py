"""Owns Whisper as training and evaluation see it: states before the head, greedy transcripts, saving.

Composes transformers' modules (encoder.py, decoding.py), so that the encoder may be given the clip alone instead of 30 s, frozen
parts run without autograd, and the head sees supervised positions only. Opening and saving: checkpoints.py.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel, WhisperForConditionalGeneration

from qasr_train.batch import IGNORED, Batch
from qasr_train.errors import ConfigError
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
from qasr_train.models.blocks.compiled import compile_layers
from qasr_train.models.blocks.greedy import NOTHING_SAID, RowTokens, finish_rows
from qasr_train.models.blocks.recompute import checkpoint_layers
from qasr_train.models.blocks.sampling import Drawing, Said, rows_of, spread_index, with_rows
from qasr_train.models.blocks.sharded import gathers_layers
from qasr_train.models.locations import origin_of, resolve_checkpoint
from qasr_train.models.lora_files import has_only_adapters
from qasr_train.models.settings import Capability, Engine, Recompute
from qasr_train.models.whisper.answers import Answers
from qasr_train.models.whisper.checkpoints import (
    FAMILY,
    TRAINED_WINDOWS,
    digest_of,
    open_tokens,
    open_whisper,
    save_whisper,
    save_whisper_adapter,
    say_other_window,
)
from qasr_train.models.whisper.collator import WhisperCollator
from qasr_train.models.whisper.config import PARTS, WhisperConfig
from qasr_train.models.whisper.decoding import Suppression, WhisperSteps, decode_at_once, decode_groups, generate
from qasr_train.models.whisper.encoder import ENCODER_VERSION, encode_windows, flattened, mask_of, padded


class Whisper(nn.Module):
    """A loaded Whisper. `module` is the transformers model, or the PEFT model around it once LoRA is on."""

    family = FAMILY
    parts = PARTS
    module: PreTrainedModel | PeftModel

    def __init__(
        self,
        module: PreTrainedModel | PeftModel,
        processor: Any,
        generation: Mapping[str, Any],
        collator: WhisperCollator,
        *,
        origin: ModelOrigin = UNKNOWN_ORIGIN,
        no_speech_threshold: float | None = None,
    ) -> None:
        """generation: the checkpoint's generation_config.json. origin: of the weights; adapters name it as their base.

        no_speech_threshold: see `WhisperConfig`.
        """
        super().__init__()
        self.module, self.processor, self.collator = module, processor, collator
        self.generation, self.origin, self.no_speech_threshold = generation, origin, no_speech_threshold
        self.tokens, self._answers = collator.tokens, Answers(collator.tokens)
        self.language_names = self._answers.language_names
        languages = set() if self.tokens.is_multilingual else {Capability.LANGUAGE}
        lacking = {Capability.SYSTEM_TURN, Capability.SAYS_LANGUAGE, Capability.SLOTS} | languages
        self.capabilities = frozenset(Capability) - lacking
        self._recompute_convolutions = False

    @property
    def core(self) -> WhisperForConditionalGeneration:
        """The transformers model itself; adapters, if any, sit inside its layers."""
        inner = self.module.get_base_model() if isinstance(self.module, PeftModel) else self.module
        return cast(WhisperForConditionalGeneration, inner)

    @property
    def encoder_version(self) -> str:
        """See `AudioEncoder`; a clip by itself is encoded otherwise than in the full window."""
        return f"{ENCODER_VERSION} {self.collator.window.value}"

    @property
    def audio_modules(self) -> nn.Module:
        """All that `encode` computes with.

        Raises:
            ConfigError: some training batches are given another window, so that a clip has not one encoding.
        """
        if self.collator.full_window_fraction:
            raise ConfigError(
                f"model.full_window_fraction={self.collator.full_window_fraction:g}: gives the encoder another window in some "
                "batches, and data.cache.encoder_outputs keeps one encoding of a clip; set one of them to 0 or false"
            )
        return self.core.model.encoder

    def forward(self, batch: Batch, reduce: Callable[[TargetStates], Any] = TargetStates.token_logits) -> Any:
        """What `reduce` makes of the states before the head at the supervised positions; see `Trainable`."""
        core, host = self.core, batch.host or batch
        states, mask = self._heard_by_rows(batch)
        ids = self.fill_languages(batch, states, mask)
        num_positions = self.num_encoded(host)
        if batch.audio_of is not None:
            num_positions = [num_positions[clip] for clip in batch.audio_of]
        hidden = decode_groups(core.model.decoder, ids[:, :-1], states, mask, num_positions)
        assert batch.labels is not None and host.labels is not None
        row, column = (index.to(hidden.device) for index in (host.labels != IGNORED).nonzero(as_tuple=True))
        targets = batch.labels[row, column]
        return reduce(TargetStates(hidden[row, column - 1], core.proj_out, targets=targets, row=row))

    def encode(self, batch: Batch) -> torch.Tensor:
        """float [A, D]: the encoder's states of all rows, in row order; without autograd where nothing of it is trained."""
        if batch.encoded is not None:
            return batch.encoded
        num_positions = self.num_encoded(batch.host or batch)
        return flattened(self._encode_windows(batch, num_positions), num_positions)

    def num_encoded(self, batch: Batch) -> list[int]:
        """Positions of the encoder of each row of a batch on the host."""
        return self.collator.num_positions(batch.input_features_mask)

    def fill_languages(self, batch: Batch, states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """The batch's ids, a second start token being the language that the model hears now; see `WhisperTokens.training_row`."""
        host, sot_id = (batch.host or batch).input_ids, self.tokens.sot_id
        row, column = ((host[:, 1:] == sot_id) & (host[:, :-1] == sot_id)).nonzero(as_tuple=True)
        if not self.tokens.is_multilingual:
            return batch.input_ids
        if not len(row):
            if gathers_layers(self.core.model.decoder):  # another process may ask
                self._heard_in(states[:1], None if mask is None else mask[:1])
            return batch.input_ids
        rows = row.to(states.device)
        heard = self._heard_in(states[rows], None if mask is None else mask[rows])
        return batch.input_ids.index_put((rows, column.to(rows.device) + 1), heard)

    def transcribe(self, batch: Batch, *, max_new_tokens: int) -> list[Hypothesis]:
        """Greedy transcripts without timestamps, in row order; at most as many tokens as the decoder has positions."""
        return self.transcribe_rows(batch, max_new_tokens=[max_new_tokens] * len(batch))

    def transcribe_rows(
        self, batch: Batch, *, max_new_tokens: Sequence[int], engine: Engine = Engine.auto
    ) -> list[Hypothesis]:
        """`transcribe` with a limit of new tokens for each row, by the engine that is asked for.

        Raises:
            ConfigError: the engine cannot do what is asked.
        """
        begun = [NOTHING_SAID] * len(batch)
        answers = self.continue_rows(batch, begun, max_new_tokens=max_new_tokens, engine=engine)
        return [answer.said for answer in answers]

    @torch.inference_mode()
    def continue_rows(
        self, batch: Batch, begun: Sequence[RowTokens], *, max_new_tokens: Sequence[int], engine: Engine = Engine.auto
    ) -> list[Answer]:
        """See `Continuer`; the language is part of the prompt."""
        core = self.core
        was_training = core.training
        core.eval()
        try:
            num_positions = self.num_encoded(batch.host or batch)
            states = self._states(batch, num_positions)
            steps = WhisperSteps(
                core,
                states,
                mask_of(num_positions, states.device),
                self._suppression(states.device),
                num_positions=self.tokens.num_positions,
            )
            prompt, last, is_silent = self._begin(batch, steps)
            is_silent = [silent and not one.ids for silent, one in zip(is_silent, begun, strict=True)]
            room = self._room(batch.host or batch, num_told=prompt.shape[1] - batch.input_ids.shape[1])
            limits = [
                1 if silent else min(most, left - len(one.ids))
                for most, left, silent, one in zip(max_new_tokens, room, is_silent, begun, strict=True)
            ]
            if engine is Engine.generate:
                rows = generate(
                    core,
                    states,
                    prompt,
                    begun,
                    limits,
                    start_id=self.tokens.sot_id,
                    end_id=self.tokens.end_id,
                    rules=self.generation,
                )
            else:
                first = steps.first(*steps.follow([one.ids for one in begun], last))
                rows = finish_rows(steps, first, [max(1, limit) for limit in limits], [self.tokens.end_id])
                rows = [
                    row if limit > 0 else NOTHING_SAID for row, limit in zip(rows, limits, strict=True)
                ]  # no position left
        finally:
            core.train(was_training)
        asked = zip(batch.ids, begun, rows, prompt.tolist(), is_silent, strict=True)
        return [self._answers.after(*one) for one in asked]

    def token_bytes(self, token_id: int) -> bytes:
        """See `Continuer`."""
        return self._answers.written(token_id)

    @torch.inference_mode()
    def draw(self, batch: Batch, drawing: Drawing, *, limits: Sequence[int]) -> list[DrawnClip]:
        """See `Sampler`; the language is told, by the row or by what the model hears, and is not part of what is said."""
        core, tokens = self.core, self.tokens
        was_training = core.training
        core.eval()
        try:
            rows = [Said(row.clip, tokens.drawing_prompt(row.prompt, row.target)) for row in rows_of(batch)]
            asked = with_rows(batch, rows, pad_id=self.pad_id, on_left=True).to(core.device)
            states, mask = self._heard_by_rows(asked)
            ids, is_token = self.fill_languages(asked, states, mask), asked.attention_mask.bool()
            chooser = drawing.chooser(tokens.sot_id, [tokens.end_id])
            steps = WhisperSteps(
                core, states, mask, self._suppression(ids.device), num_positions=tokens.num_positions, chooser=chooser
            )
            last = steps.extend(ids, is_token)[:, -1]
            spread = spread_index(len(rows), drawing.num_each, last.device)
            steps.spread(spread)
            limits = [min(pair) for pair in zip(limits, self._room(asked.host or asked, num_told=0), strict=True)]
            groups = drawing.groups(steps, chooser, steps.first(last[spread]), limits, [tokens.end_id])
        finally:
            core.train(was_training)
        prompts = [own[mine].tolist() for own, mine in zip(ids.cpu(), is_token.cpu(), strict=True)]
        return [
            DrawnClip(
                prompt,
                [Draw(tuple(one.ids), self._answers.said(name, RowTokens(one.ids, []), prompt)) for one in group],
            )
            for name, prompt, group in zip(batch.ids, prompts, groups, strict=True)
        ]

    @property
    def pad_id(self) -> int:
        """See `Sampler`."""
        return self.tokens.end_id

    def save(self, folder: Path | None) -> None:
        """Write a complete directory that plain `from_pretrained` loads, LoRA merged into it; the live model is untouched.

        Where LoRA is all that was trained, `adapter/` holds it too. folder: None takes part in gathering weights that are
        sharded over processes, and writes nothing.

        Raises:
            CheckpointError: the adapter holds numbers that are not finite. OSError: the disk is full or cannot be written.
        """
        save_whisper(self.module, self.processor, folder)
        if has_only_adapters(self.module):
            save_whisper_adapter(
                cast(PeftModel, self.module),
                None if folder is None else folder / "adapter",
                base=self.origin.path,
                revision=self.origin.revision,
                base_digest=self.origin.digest,
            )

    def set_gradient_checkpointing(self, recompute: Recompute) -> None:
        """Recompute these activations in the backward pass instead of keeping them."""
        core = self.core.model
        self._recompute_convolutions = recompute in (Recompute.conv, Recompute.encoder, Recompute.all)
        checkpoint_layers(core.encoder, recompute in (Recompute.encoder, Recompute.all))
        checkpoint_layers(core.decoder, recompute in (Recompute.decoder, Recompute.all))

    def compile_layers(self) -> None:
        """Compile the layers of encoder and decoder for training; see models/blocks/compiled.py."""
        core = self.core.model
        compile_layers([*core.encoder.layers, *core.decoder.layers])

    def flop_counter(self) -> None:
        """Not worked out for this family."""
        return

    def _heard_by_rows(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(float [B, S, D], mask as `mask_of` has it): what each row's decoder looks at, which rows of one clip share."""
        num_positions = self.num_encoded(batch.host or batch)
        states = self._states(batch, num_positions)
        mask = mask_of(num_positions, states.device)
        if batch.audio_of is None:
            return states, mask
        rows = torch.tensor(batch.audio_of).to(states.device, non_blocking=True)
        return states.index_select(0, rows), None if mask is None else mask.index_select(0, rows)

    def _states(self, batch: Batch, num_positions: Sequence[int]) -> torch.Tensor:
        """float [B, S, D]: what the decoder looks at, of a cache or of the encoder; past a row's own positions anything."""
        encoded = batch.encoded
        states = self._encode_windows(batch, num_positions) if encoded is None else padded(encoded, num_positions)
        return states.to(self.core.dtype)

    def _encode_windows(self, batch: Batch, num_positions: Sequence[int]) -> torch.Tensor:
        encoder, batch = self.core.model.encoder, self.collator.with_features(batch)
        is_trained = any(parameter.requires_grad for parameter in encoder.parameters())
        with nullcontext() if is_trained else torch.no_grad():
            return encode_windows(
                encoder,
                batch.input_features.to(self.core.dtype),
                num_positions,
                recompute_convolutions=self._recompute_convolutions and is_trained and encoder.training,
            )

    def _begin(self, batch: Batch, steps: WhisperSteps) -> tuple[torch.Tensor, torch.Tensor, list[bool]]:
        """int64 [B, T] the whole prompts, float [B, D] the states after them, and which rows hold no speech by the threshold.

        A language is told from the start token alone, as transformers and OpenAI do: a context may be in another.
        """
        prompt, is_token, sot_id = batch.input_ids, batch.attention_mask.bool(), self.tokens.sot_id
        at_start = (prompt == sot_id).int().argmax(1)
        if self.tokens.is_multilingual and int(at_start[0]) == prompt.shape[1] - 1:
            start = prompt[:, -1:]
            heard = self._heard(steps.logits(steps.extend(start, torch.ones_like(start, dtype=torch.bool))[:, -1]))
            steps.forget_tokens()
            rest = torch.tensor([self.tokens.after_language(0)] * len(prompt), device=prompt.device)
            rest[:, 0] = heard
            prompt = torch.cat([prompt, rest], dim=1)
            is_token = torch.cat([is_token, torch.ones_like(rest, dtype=torch.bool)], dim=1)
        hidden = steps.extend(prompt, is_token)
        is_silent = [False] * len(prompt)
        if self.no_speech_threshold is not None and self.tokens.no_speech_id is not None:
            started = hidden[torch.arange(len(prompt), device=prompt.device), at_start]
            silence = steps.logits(started).softmax(-1)[:, self.tokens.no_speech_id]
            is_silent = (silence > self.no_speech_threshold).tolist()
        return prompt, hidden[:, -1], is_silent

    def _room(self, batch: Batch, *, num_told: int) -> list[int]:
        """Positions that each row has left after its own prompt; num_told: tokens that were added to all."""
        return [self.tokens.num_positions - num_told - own for own in batch.attention_mask.sum(1).tolist()]

    @torch.no_grad()
    def _heard_in(self, states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """int64 [B]: the language of each row as the model tells it, without dropout."""
        core = self.core
        was_training = core.training
        core.eval()
        try:
            start = torch.full((len(states), 1), self.tokens.sot_id, device=states.device)
            return self._heard(core.proj_out(decode_at_once(core.model.decoder, start, states, mask)[:, -1]))
        finally:
            core.train(was_training)

    def _heard(self, logits: torch.Tensor) -> torch.Tensor:
        """int64 [B]: the likeliest language token of each row of float [B, V]."""
        candidates = torch.tensor(sorted(self.language_names), device=logits.device)
        return candidates[logits[:, candidates].argmax(dim=-1)]

    def _suppression(self, device: torch.device) -> Suppression:
        always, at_begin = self.generation.get("suppress_tokens"), self.generation.get("begin_suppress_tokens")
        return Suppression(always or [], at_begin or [], device)


def load(
    config: WhisperConfig, *, device: torch.device | str, dtype: torch.dtype, makes_features: bool | None = None
) -> Trainable:
    """Load a checkpoint, or an adapter over one, onto a device. makes_features: see `load_trainable`; None: to transcribe with.

    Raises:
        CheckpointError: the directory is incomplete, damaged, of another family, or not there.
        ConfigError: the settings ask for what the checkpoint has not.
    """
    folder = resolve_checkpoint(config.path, config.revision)
    module, processor, generation = open_whisper(folder, base=config.base, dtype=dtype)
    core: Any = module.get_base_model() if isinstance(module, PeftModel) else module
    if makes_features is None:
        say_other_window(config.path, config.window, getattr(core.config, TRAINED_WINDOWS, None))
    else:  # written with every checkpoint of the run: who evaluates it can tell
        core.config.trained_windows = config.trained_windows
    cast(nn.Module, module).to(device)
    path, revision = origin_of(config.path, folder)
    return Whisper(
        module.eval(),
        processor,
        generation,
        WhisperCollator.of(config, processor, generation, core.config, makes_features=makes_features is not False),
        origin=ModelOrigin(path, revision, digest_of(folder, config.base)),
        no_speech_threshold=config.no_speech_threshold,
    )


def load_collator(config: WhisperConfig) -> TrainingCollator:
    """The collator of a checkpoint, without its weights; raises as `load` does."""
    processor, generation, settings = open_tokens(resolve_checkpoint(config.path, config.revision), base=config.base)
    return WhisperCollator.of(config, processor, generation, settings)
