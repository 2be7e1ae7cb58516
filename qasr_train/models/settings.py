"""Owns what is known of a model without loading one: its role, its capabilities, choices, and which weights are trained."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from qasr_train.config.settings import check_settings, setting
from qasr_train.errors import ConfigError


class Capability(str, Enum):
    """What an objective or a recipe may need of a family; a missing one is refused when the config is loaded."""

    TOKEN_LOSS = "token_loss"  # calling the model gives next-token logits of supervised positions
    CONTEXT = "context"  # transcription takes hotwords or background text
    LANGUAGE = "language"  # transcription can be told, and tells, the language
    CONFIDENCE = "confidence"  # transcription tells how probable each token was
    SAMPLES = "samples"  # draws several hypotheses of a clip to learn from
    SAYS_LANGUAGE = "says_language"  # the language is part of what it says of a clip, not of the prompt
    SLOTS = "slots"  # calling the model gives logits of time slots: when the words of a known text were said
    STREAMING = "streaming"  # goes on with a given beginning of an answer, so that a clip may be heard as it comes
    SYSTEM_TURN = "system_turn"  # the prompt has a system turn, which may be left out


class ModelConfig(Protocol):
    """What the config of every family has."""

    family: str
    path: str
    max_duration_s: float

    def __init__(self, *, path: str) -> None:
        """Every other setting has a default."""

    def locations(self) -> list[str | None]:
        """Directories and hub ids that decide what the model hears; None for one that is not named."""


class Role(str, Enum):
    """What a family is for: the protocol of models/base.py that its models keep to."""

    RECOGNISER = "recogniser"  # transcribes
    TRAINABLE = "trainable"  # transcribes and learns
    ALIGNER = "aligner"  # says when the words of a known text were said, and learns it


@dataclass(frozen=True, slots=True)
class Card:
    """What a comparison says of a family besides its figures; the parameters are counted when a model is loaded.

    architecture: encoder and decoder in a few words. languages: how many, or which. license: of the published weights,
    None where it depends on the checkpoint.
    """

    architecture: str
    languages: str
    license: str | None


class Engine(str, Enum):
    """What turns a batch into tokens, where a family leaves a choice."""

    auto = "auto"  # the family's own loop where it has one, else generate; on a GPU its steps are CUDA graphs
    loop = "loop"  # the family's own loop, its steps run operation by operation
    generate = "generate"  # transformers' own `generate`


class ExportLayout(str, Enum):
    """How the files are laid out."""

    native = "native"  # transformers, vLLM (Qwen3-ASR: 0.32 was run), this project, what converts from transformers
    original = "original"  # qwen-asr, vLLM of any version; Qwen3-ASR alone
    adapter = "adapter"  # PEFT, vLLM beside its base
    ctranslate2 = "ctranslate2"  # faster-whisper; Whisper alone, made by the library of that name
    gguf = "gguf"  # CrispASR; Qwen3-ASR alone


class ExportTarget(str, Enum):
    """What loads an export; each family says in which layouts."""

    transformers = "transformers"
    vllm = "vllm"
    qwen_asr = "qwen_asr"  # the package of Qwen3-ASR's authors
    peft = "peft"  # over a base that is opened with transformers
    faster_whisper = "faster_whisper"
    crispasr = "crispasr"  # on CPUs, by ggml


class ExportDtype(str, Enum):
    """Number format of the weights."""

    auto = "auto"  # that of the family's published models
    bfloat16 = "bfloat16"
    float16 = "float16"  # Whisper, and layout=gguf: computed in it, Qwen3-ASR's decoder overflows
    float32 = "float32"
    int8 = "int8"  # layout=ctranslate2 and gguf alone; checked on recordings before it is kept


class Recompute(str, Enum):
    """Which activations are computed again in the backward pass instead of kept (gradient checkpointing)."""

    none = "none"
    conv = "conv"  # the convolutions in front of the encoder: most memory for the least time
    encoder = "encoder"  # the convolutions and the encoder's layers
    decoder = "decoder"  # the decoder's layers
    all = "all"


@dataclass(frozen=True, slots=True)
class Parts:
    """Where the parts of a family's models lie: what weights are chosen and learning rates given by.

    Each is the name of a module that holds others: audio encoder, projector (None where there is none), decoder; and of the
    token embeddings, in the decoder, and the head that makes logits, which is tied to them and counts as decoder.
    constants: names of parameters that are no weights and are never trained, such as sines that tell positions.
    aliases: what patterns of `adapt` that name the layers of Qwen3-ASR, as its files do, stand for here; "": for nothing.
    """

    encoder: str
    decoder: str
    embeddings: str
    head: str
    projector: str | None = None
    constants: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The parts there are, in the order sound passes them."""
        return ["encoder", *(["projector"] if self.projector else []), "decoder"]

    def locate(self, name: str) -> tuple[str, str]:
        """A parameter's or layer's part and its path there: "model.audio_tower.conv_out" -> ("encoder", "conv_out").

        Raises:
            ValueError: it lies in none of the parts.
        """
        if _is_in(name, self.head):
            return "decoder", name
        for part, module in (("encoder", self.encoder), ("projector", self.projector), ("decoder", self.decoder)):
            if module and _is_in(name, module):
                return part, name[len(module) + 1 :]
        raise ValueError(f"{name}: in none of the parts {', '.join(self.names)}")

    def is_embedding(self, name: str) -> bool:
        """Whether a parameter is of the token embeddings, or of the head that is tied to them."""
        return _is_in(name, self.embeddings) or _is_in(name, self.head)


@dataclass
class LoraSettings:
    """LoRA (Hu et al. 2021): a low-rank update beside each chosen linear layer; its weights are float32 whatever the base.

    A pattern is matched against the layer's last name ("q_proj") or, where it holds a dot, its whole name in the part
    ("layers.2?.self_attn.*"); "re:..." is a regular expression on the whole name.
    """

    rank: int = setting(16, ge=1, help="dimensions; width of the update, its capacity and cost")
    alpha: float = setting(
        32.0, gt=0, help="factor; the update counts alpha / rank times (alpha / sqrt(rank) with use_rslora)"
    )
    dropout: float = setting(0.0, ge=0, lt=1, help="share of inputs of the update zeroed in training")
    use_rslora: bool = setting(False, help="scale by sqrt(rank), steadier at ranks above 64 (Kalajdzievski 2023)")
    use_dora: bool = setting(False, help="learn magnitudes apart (DoRA, Liu et al. 2024); slower, vLLM cannot serve it")
    decoder: list[str] = setting([], help="patterns; linear layers of the language model. []: none")
    encoder: list[str] = setting([], help="patterns; linear layers of the audio encoder. []: none")
    projector: list[str] = setting([], help="patterns; linear layers between encoder and decoder. []: none")

    def __post_init__(self) -> None:
        check_settings(self, "adapt.lora")


@dataclass
class AdaptConfig:
    """Which weights are trained. Everything that is not named stays as it is in the checkpoint.

    Names read as the table printed at the start of a run says: part, then the path inside it, e.g.
    "encoder.layers.0.fc1.weight", "projector.linear_1.bias", "decoder.embed_tokens.weight".
    """

    trainable: list[str] = setting([], help="patterns, globs or re:...; weights trained themselves. ['*']: all")
    frozen: list[str] = setting([], help="patterns; exceptions from `trainable` that stay frozen")
    lora: LoraSettings | None = setting(None, help="low-rank updates beside frozen layers. null: off")

    def __post_init__(self) -> None:
        check_settings(self, "adapt")
        if self.frozen and not self.trainable:
            raise ConfigError(
                "adapt.frozen: it lists exceptions from adapt.trainable, which is empty; everything is frozen already"
            )


def _is_in(name: str, module: str) -> bool:
    """Whether a parameter or layer lies in a module."""
    return name.startswith(f"{module}.")
