"""Owns which weights of a model are trained and how: whole weights by pattern, LoRA on linear layers, the rest frozen.

Input: a transformers model and an AdaptConfig. Output: the model (wrapped by PEFT where LoRA is on) with `requires_grad` set,
counts for people, and parameters by part for the optimizer. Where the parts lie, the family says (`Parts`).
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from peft import LoraConfig, PeftModel
from torch import nn
from transformers import PreTrainedModel

from qasr_train.config.patterns import REGEX, matches
from qasr_train.errors import ConfigError
from qasr_train.models.lora_files import is_adapter_name, merge_adapter, put_lora
from qasr_train.models.settings import AdaptConfig, LoraSettings, Parts

ADAPTERS = "adapters"  # the group of LoRA weights, whatever part they sit in
ENCODER_ADAPTERS = "adapters_encoder"  # for the optimizer, those in the audio encoder by themselves
_NUM_NEAR_NAMES = 4
_NUMBER = "#"  # stands for a layer's number in the name of its kind


@dataclass(frozen=True, slots=True)
class PartCount:
    """Parameters of one part: in the checkpoint, of those trained, and in LoRA updates sitting in it."""

    part: str
    num_parameters: int
    num_trained: int
    num_adapter: int

    @property
    def is_frozen(self) -> bool:
        """Whether training leaves this part exactly as it is."""
        return not self.num_trained and not self.num_adapter


@dataclass(frozen=True, slots=True)
class ParameterCounts:
    """The counts of every part; prints as a table."""

    parts: list[PartCount]

    @property
    def num_trained(self) -> int:
        """Parameters the optimizer changes, LoRA included."""
        return sum(part.num_trained + part.num_adapter for part in self.parts)

    def __str__(self) -> str:
        total = PartCount("total", *(sum(getattr(p, f) for p in self.parts) for f in PartCount.__slots__[1:]))
        lines = [f"{'part':<11}{'parameters':>15}{'trained':>15}{'LoRA':>13}"]
        for part in (*self.parts, total):
            numbers = f"{part.num_parameters:>15,}{part.num_trained:>15,}{part.num_adapter:>13,}"
            lines.append(f"{part.part:<11}{numbers}" + ("  frozen" if part.is_frozen else ""))
        share = self.num_trained / (total.num_parameters + total.num_adapter)
        return "\n".join([*lines, f"{share:.2%} of all parameters are trained"])


def apply_adaptation(
    model: PreTrainedModel | PeftModel, config: AdaptConfig, parts: Parts
) -> PreTrainedModel | PeftModel:
    """Freeze, unfreeze and put LoRA on a model as the config says.

    Args:
        model: a transformers model, changed in place; one that already carries an adapter has it merged first, so that
            training goes on from what the two say together.
        config: see AdaptConfig. parts: where they lie in the model.

    Returns:
        The same model, or a PeftModel around it where LoRA is on.

    Raises:
        ConfigError: nothing is trainable, or a pattern matches nothing; names the pattern and near names.
    """
    base = merge_adapter(model) if isinstance(model, PeftModel) else model
    trained = _chosen_parameters(base, config, parts)
    layers = _chosen_layers(base, config.lora, parts) if config.lora else []
    if not trained and not layers:
        raise ConfigError(
            "adapt: nothing is trained; choose adapt=lora or adapt=full, or name weights in adapt.trainable"
        )
    for layer in layers:
        if f"{layer}.weight" in trained:
            raise ConfigError(
                f"adapt: {'.'.join(parts.locate(layer))} is trained itself and given LoRA; take it out of one of them"
            )
    adapted = put_lora(base, _lora_config(config.lora, base, layers)) if config.lora and layers else base
    for name, parameter in _named_parameters(adapted):
        parameter.requires_grad_(name in trained or is_adapter_name(name))
    return adapted


def count_parameters(model: nn.Module, parts: Parts) -> ParameterCounts:
    """Parameters of each part, trained ones and LoRA apart. The token embeddings, tied to the head, stand by themselves."""
    counts = {part: [0, 0, 0] for part in (*parts.names, "embeddings")}
    for name, parameter in _named_parameters(model):
        column = counts["embeddings" if parts.is_embedding(name) else parts.locate(name)[0]]
        if is_adapter_name(name):
            column[2] += parameter.numel()
        else:
            column[0] += parameter.numel()
            column[1] += parameter.numel() * parameter.requires_grad
    return ParameterCounts([PartCount(part, *numbers) for part, numbers in counts.items()])


def parameter_groups(model: nn.Module, parts: Parts) -> dict[str, list[tuple[str, nn.Parameter]]]:
    """Every parameter by its group: encoder, projector, decoder (embeddings included), and adapters for all of LoRA.

    Names are the transformers model's own, without PEFT's; `parts.locate(name)` says in which part an adapter sits.
    """
    groups: dict[str, list[tuple[str, nn.Parameter]]] = {part: [] for part in (*parts.names, ADAPTERS)}
    for name, parameter in _named_parameters(model):
        groups[ADAPTERS if is_adapter_name(name) else parts.locate(name)[0]].append((name, parameter))
    return groups


def optimizer_groups(model: nn.Module, parts: Parts) -> dict[str, list[tuple[str, nn.Parameter]]]:
    """`parameter_groups` with LoRA in the audio encoder apart: new sound and new words want learning rates of their own."""
    groups = parameter_groups(model, parts)
    adapters = groups.pop(ADAPTERS)
    groups[ENCODER_ADAPTERS] = [pair for pair in adapters if parts.locate(pair[0])[0] == "encoder"]
    groups[ADAPTERS] = [pair for pair in adapters if parts.locate(pair[0])[0] != "encoder"]
    return groups


def _chosen_parameters(model: nn.Module, config: AdaptConfig, parts: Parts) -> set[str]:
    names = [name for name, _ in model.named_parameters() if name not in parts.constants]
    shown = {".".join(parts.locate(name)): name for name in names}
    chosen = _matching("adapt.trainable", config.trainable, shown, parts.aliases)
    return {shown[name] for name in chosen - _matching("adapt.frozen", config.frozen, shown, parts.aliases)}


def _chosen_layers(model: nn.Module, lora: LoraSettings, parts: Parts) -> list[str]:
    layers = []
    for part in ("encoder", "projector", "decoder"):  # a pattern for a part that is not there matches nothing
        shown = {}
        for name, module in model.named_modules():
            # The head is tied to the embeddings: an update of one would silently not be an update of the other.
            if isinstance(module, nn.Linear) and name != parts.head and parts.locate(name)[0] == part:
                shown[parts.locate(name)[1]] = name
        layers += [shown[name] for name in _matching(f"adapt.lora.{part}", getattr(lora, part), shown, parts.aliases)]
    return sorted(layers)


def _matching(key: str, patterns: Iterable[str], names: Iterable[str], aliases: Mapping[str, str]) -> set[str]:
    """The names that any pattern, or what it stands for, matches; one without a dot is tried on the last name too."""
    names, chosen = list(names), set()
    for pattern in filter(None, (aliases.get(one, one) for one in patterns)):
        matched = {name for name in names if _matches(key, pattern, name)}
        if not matched:
            raise ConfigError(f"{key}: {pattern!r} matches nothing; {_near(pattern, names)}")
        chosen |= matched
    return chosen


def _matches(key: str, pattern: str, name: str) -> bool:
    is_bare_glob = "." not in pattern and not pattern.startswith(REGEX)
    return matches(key, pattern, name) or (is_bare_glob and matches(key, pattern, name.rpartition(".")[2]))


def _near(pattern: str, names: list[str]) -> str:
    """What the user may have meant: similar names, one of each kind of layer, as patterns."""
    templates = list(dict.fromkeys(re.sub(r"\.\d+\.", ".*.", name) for name in names))
    candidates = templates if "." in pattern else list(dict.fromkeys(t.rpartition(".")[2] for t in templates))
    near = difflib.get_close_matches(pattern, candidates, _NUM_NEAR_NAMES, cutoff=0.3) or candidates[:_NUM_NEAR_NAMES]
    return f"names here are like {', '.join(near)}"


def _lora_config(lora: LoraSettings, model: nn.Module, layers: list[str]) -> LoraConfig:
    return LoraConfig(
        r=lora.rank,
        lora_alpha=_whole(lora.alpha),
        lora_dropout=lora.dropout,
        use_rslora=lora.use_rslora,
        use_dora=lora.use_dora,
        target_modules=_as_regex(layers, [name for name, _ in model.named_modules()]),
        bias="none",
    )


def _whole(alpha: float) -> Any:
    """32.0 as 32, which is what vLLM and others read; PEFT computes with either."""
    return int(alpha) if float(alpha).is_integer() else alpha


def _as_regex(layers: list[str], all_layers: list[str]) -> str:
    """One expression that matches the chosen layers and no other, layer numbers gathered so that it can be read."""
    chosen, existing = _by_kind(layers), _by_kind(all_layers)
    alternatives = []
    for kind, numbers in chosen.items():
        choice = r"\d+" if numbers == existing[kind] else "(" + "|".join(numbers) + ")"
        alternatives.append(re.escape(kind).replace(re.escape(_NUMBER), choice))
    return "|".join(alternatives)


def _by_kind(layers: list[str]) -> dict[str, list[str]]:
    """Layers gathered by their name without its first number: "a.#.b" -> ["0", "1", ...], in order."""
    kinds: dict[str, list[str]] = {}
    for layer in layers:
        number = re.search(r"(?<=\.)\d+(?=\.)", layer)
        kind = layer if number is None else f"{layer[: number.start()]}{_NUMBER}{layer[number.end() :]}"
        kinds.setdefault(kind, []).append(number[0] if number else "")
    return {kind: sorted(numbers, key=lambda n: int(n or 0)) for kind, numbers in kinds.items()}


def _named_parameters(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Parameters under the transformers model's own names, whether PEFT is around it or not."""
    base: nn.Module = model.get_base_model() if isinstance(model, PeftModel) else model
    return [(_plain(name), parameter) for name, parameter in base.named_parameters()]


def _plain(name: str) -> str:
    return name.replace(".base_layer.", ".")
