"""Owns the forms a prompt takes at those who send it: with a system turn always, only around a context, or never.

Input: the form asked for, a family, utterances. Output: recordings in that form; refusals. Imports no torch.
"""

from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING

from qasr_train.errors import ConfigError
from qasr_train.manifest import Utterance
from qasr_train.models.families import FAMILIES
from qasr_train.models.settings import Capability

if TYPE_CHECKING:  # it brings torch, which settings do without
    from qasr_train.batch import Recording


class PromptForm(str, Enum):
    """How the prompt of a clip begins. Who sends which was read in qwen-asr 0.0.6 and vLLM 0.32 (docs/evaluation.md)."""

    own = "own"  # the family's own; of Qwen3-ASR a system turn always, empty without a context: qwen-asr, the chat template
    served = "served"  # a system turn only around a context: /v1/audio/transcriptions of `vllm serve`
    no_turn = (
        "no_turn"  # never a system turn: /v1/realtime of `vllm serve`, and vLLM versions that ignore a request's prompt
    )

    @property
    def meaning(self) -> str:
        """It in words, for reports."""
        return _MEANINGS[self]

    def has_system_turn(self, *, has_context: bool) -> bool:
        """Whether a prompt begins with a system turn. has_context: whether there is a context that may go into it."""
        return self is PromptForm.own or (self is PromptForm.served and has_context)


_MEANINGS = {
    PromptForm.own: "the family's own",
    PromptForm.served: "a system turn only where a row has a context, as vllm serve sends it",
    PromptForm.no_turn: "never a system turn, as the realtime endpoint of vllm serve sends it",
}


def prompted(recording: "Recording", form: PromptForm, *, use_context: bool) -> "Recording":
    """The recording with or without a system turn. use_context: whether its context may go into one."""
    has_context = use_context and bool(recording.utterance.context)
    return replace(recording, has_system_turn=form.has_system_turn(has_context=has_context))


def refuse_prompt(form: PromptForm, family: str) -> None:
    """Refuse another form than its own of a family whose prompt has no system turn, and of a command, which makes its own.

    Raises:
        ConfigError: names the family.
    """
    known = FAMILIES.get(family)
    if form is PromptForm.own or (known is not None and Capability.SYSTEM_TURN in known.capabilities):
        return
    if known is None:
        raise ConfigError(
            f"decode.prompt={form.value}: a model.command makes its own prompts; set decode.prompt=own, and have the command "
            "send what you want to measure"
        )
    raise ConfigError(
        f"decode.prompt={form.value}: {family} models have no system turn that could be left out; set decode.prompt=own"
    )


def refuse_lost_contexts(form: PromptForm, utterances: Sequence[Utterance], *, use_context: bool, where: str) -> None:
    """Refuse a form without a system turn where a context is to be offered: it would be lost without a word.

    Args:
        where: what the utterances are called, e.g. "set 'digits'".

    Raises:
        ConfigError: names the first utterance with a context.
    """
    if form is not PromptForm.no_turn or not use_context:
        return
    first = next((utterance for utterance in utterances if utterance.context), None)
    if first is not None:
        raise ConfigError(
            f"decode.prompt=no_turn: {where} gives contexts (the first is that of {first.id!r}), and they stand in the system "
            "turn; set decode.prompt=served to send the turn with them, or decode.use_context=false"
        )
