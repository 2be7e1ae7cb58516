"""Parakeet TDT: equal to a transducer decoded by hand, and NeMo's archives converted under the names NeMo uses."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import ParakeetForTDT
from transformers.convert_slow_tokenizer import import_protobuf

from qasr_train.batch import Recording
from qasr_train.errors import CheckpointError, ConfigError
from qasr_train.models import pretrained
from qasr_train.models.families import load_collator, load_model
from qasr_train.models.parakeet_tdt import nemo
from qasr_train.models.parakeet_tdt.config import ParakeetTDTConfig
from qasr_train.models.parakeet_tdt.model import ParakeetTDT
from qasr_train.models.parakeet_tdt.nemo import convert_nemo, convert_state_dict, model_config
from tests.helpers import tone, utterance
from tests.models.tiny_families import NEMO_LAYER_NAMES, save_tiny_parakeet

# The rest of a NeMo FastConformer TDT, as its state dict spells it, with what transformers calls each.
OTHER_NAMES = {
    **{f"encoder.pre_encode.conv.{i}": f"encoder.subsampling.layers.{i}" for i in (0, 2, 3, 5, 6)},
    "encoder.pre_encode.out": "encoder.subsampling.linear",
    "decoder.prediction.embed": "decoder.embedding",
    "decoder.prediction.dec_rnn.lstm": "decoder.lstm",
    "joint.enc": "encoder_projector",
    "joint.pred": "decoder.decoder_projector",
    "joint.joint_net.2": "joint.head",
}


def nemo_state(model: ParakeetForTDT) -> dict[str, torch.Tensor]:
    """The model's tensors under NeMo's names, with the two constants that NeMo stores besides."""
    names = {ours: theirs for theirs, ours in OTHER_NAMES.items()}
    for layer in range(model.config.encoder_config.num_hidden_layers):
        front = f"encoder.layers.{layer}."
        names |= {front + ours: front + theirs for theirs, ours in NEMO_LAYER_NAMES.items()}
    state = {"preprocessor.featurizer.window": torch.ones(400), "preprocessor.featurizer.fb": torch.ones(1, 80, 257)}
    for name, tensor in model.state_dict().items():
        whole = name in names
        module, _, leaf = name.rpartition(".")
        state[names[name] if whole else f"{names[module]}.{leaf}"] = tensor
    return state


def nemo_config(num_labels: int, **encoder: Any) -> dict[str, Any]:
    sizes = {"feat_in": 80, "n_layers": 2, "d_model": 32, "n_heads": 4, "ff_expansion_factor": 2, "conv_kernel_size": 5}
    sizes |= {
        "subsampling_factor": 8,
        "subsampling_conv_channels": 8,
        "xscaling": False,
        "self_attention_model": "rel_pos",
    }
    return {
        "labels": [f"label{i}" for i in range(num_labels)],
        "model_defaults": {"tdt_durations": [0, 1, 2, 3, 4]},
        "preprocessor": {
            "sample_rate": 16000,
            "features": 80,
            "window_size": 0.025,
            "window_stride": 0.01,
            "n_fft": 512,
            "dither": 1e-5,
        },
        "encoder": {**sizes, **encoder},
        "decoder": {"prednet": {"pred_hidden": 32, "pred_rnn_layers": 1}},
    }


def sentencepiece_model(num_pieces: int) -> bytes:
    """A BPE model of `<unk>`, the letters of "▁ab" and made-up pieces."""
    proto = import_protobuf().ModelProto()
    proto.trainer_spec.model_type, proto.trainer_spec.unk_piece = 2, "<unk>"
    pieces = ["<unk>", "▁", "a", "b", *(f"q{i}" for i in range(num_pieces - 4))]
    for rank, piece in enumerate(pieces):
        proto.pieces.add(piece=piece, score=-float(rank), type=2 if rank == 0 else 1)
    return proto.SerializeToString()


def write_archive(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def archive_members(model: ParakeetForTDT) -> dict[str, bytes]:
    num_labels, weights = model.config.vocab_size - 1, io.BytesIO()
    torch.save(nemo_state(model), weights)
    return {
        "model_config.yaml": yaml.safe_dump(nemo_config(num_labels)).encode(),
        "model_weights.ckpt": weights.getvalue(),
        "0123abcd_tokenizer.model": sentencepiece_model(num_labels),
    }


@torch.no_grad()
def decoded_by_hand(model: ParakeetForTDT, features: torch.Tensor, max_tokens: int) -> list[int]:
    """Greedy TDT of one clip as the paper has it (Xu et al. 2023): emit, then move on by the predicted duration."""
    states = model.encoder_projector(model.encoder(features).last_hidden_state)[0]
    token, memory, frame, tokens = model.config.blank_token_id, None, 0, []
    hidden, new_memory = model.decoder.lstm(model.decoder.embedding(torch.tensor([[token]])), memory)
    while frame < len(states) and len(tokens) < max_tokens:
        joint = model.joint.head(torch.relu(states[frame] + model.decoder.decoder_projector(hidden)[0, 0]))
        token = int(joint[: model.config.vocab_size].argmax())
        duration = int(joint[model.config.vocab_size :].argmax())
        if token == model.config.blank_token_id:
            frame += max(duration, 1)
            continue
        tokens.append(token)
        frame += duration
        memory = new_memory
        hidden, new_memory = model.decoder.lstm(model.decoder.embedding(torch.tensor([[token]])), memory)
    return tokens


def load(folder: Path) -> ParakeetTDT:
    model = load_model(ParakeetTDTConfig(path=str(folder)), device="cpu")
    assert isinstance(model, ParakeetTDT)
    return model


def test_it_hears_what_a_transducer_decoded_by_hand_hears(tmp_path: Path):
    save_tiny_parakeet(tmp_path)
    model = load(tmp_path)
    clips = [Recording(utterance(id=f"u{i}"), tone(0.6 + 2.2 * i, frequency_hz=300.0 * (i + 1))) for i in range(3)]
    batch = model.collator.for_transcription(clips, language=None, use_context=False)
    heard = model.transcribe(batch, max_new_tokens=20)
    for row, one in enumerate(heard):
        own = batch.input_features[row : row + 1, :, : int(batch.input_features_mask[row].sum())].transpose(1, 2)
        expected = decoded_by_hand(model.module, own, 20)
        assert one.raw_text == model.processor.tokenizer.decode(expected, skip_special_tokens=True, group_tokens=False)
        assert one.num_tokens == min(len(expected) + 1, 20)
    assert any(one.text for one in heard)


def test_a_nemo_archive_becomes_a_directory_that_loads_and_hears_the_same(tmp_path: Path):
    save_tiny_parakeet(tmp_path / "native")
    native = load(tmp_path / "native")
    convert_nemo(write_archive(tmp_path / "x.nemo", archive_members(native.module)), tmp_path / "converted")
    converted = load(tmp_path / "converted")
    expected, state = native.module.state_dict(), converted.module.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())
    assert converted.processor.tokenizer.decode([1, 2, 3, 1, 3], group_tokens=False).strip() == "ab b"
    assert converted.processor.tokenizer.convert_tokens_to_ids("<blank>") == native.module.config.blank_token_id
    batches = [
        one.collator.for_transcription([Recording(utterance(), tone(3.0))], language=None, use_context=False)
        for one in (native, converted)
    ]
    assert torch.equal(batches[0].input_features, batches[1].input_features)
    counts = [
        one.transcribe(batch, max_new_tokens=9)[0].num_tokens
        for one, batch in zip((native, converted), batches, strict=True)
    ]
    assert counts[0] == counts[1] > 1


def test_the_names_of_the_published_1_1b_fill_a_model_of_1_07_billion_parameters():
    """42 layers, 80 mel bins, 1,024 pieces and the blank; on the meta device."""
    config = nemo_config(
        1024,
        n_layers=42,
        d_model=1024,
        n_heads=8,
        ff_expansion_factor=4,
        conv_kernel_size=9,
        subsampling_conv_channels=256,
    )
    config["decoder"]["prednet"] = {"pred_hidden": 640, "pred_rnn_layers": 2}
    with torch.device("meta"):
        model = ParakeetForTDT(model_config(config))
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e9 == pytest.approx(1.07, abs=0.005)
    assert convert_state_dict(nemo_state(model)).keys() == model.state_dict().keys()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_config.yaml": None}, "holds no model_config.yaml"),
        ({"0123abcd_tokenizer.model": None}, "holds no tokenizer.model"),
        ({"model_config.yaml": yaml.safe_dump(nemo_config(1024, n_layers=3)).encode()}, "not a Parakeet TDT of its"),
        ({"0123abcd_tokenizer.model": sentencepiece_model(9)}, "the tokenizer has 9 pieces and model_config.yaml"),
    ],
)
def test_what_is_wrong_with_an_archive_is_named(tmp_path: Path, change: dict[str, bytes | None], words: str):
    save_tiny_parakeet(tmp_path / "native")
    members = archive_members(load(tmp_path / "native").module) | change
    archive = write_archive(tmp_path / "x.nemo", {name: content for name, content in members.items() if content})
    with pytest.raises(CheckpointError, match=words):
        convert_nemo(archive, tmp_path / "out")
    (tmp_path / "no.nemo").write_bytes(b"<html>")
    with pytest.raises(CheckpointError, match="not a .nemo archive"):
        convert_nemo(tmp_path / "no.nemo", tmp_path / "out")
    with pytest.raises(CheckpointError, match="absent.nemo: no such file"):
        convert_nemo(tmp_path / "absent.nemo", tmp_path / "out")


def test_a_package_that_this_transformers_needs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Before 5.23 transformers computes the features with librosa."""

    def as_before_5_23(*args: object, **settings: object) -> None:
        raise ImportError("\nParakeetFeatureExtractor requires the librosa library. But that was not found.\n`pip ...`")

    monkeypatch.setattr(nemo, "ParakeetFeatureExtractor", as_before_5_23)
    monkeypatch.setattr(pretrained.AutoProcessor, "from_pretrained", as_before_5_23)
    about = {"model_type": "parakeet_tdt", "blank_token_id": 3}
    (tmp_path / "config.json").write_text(json.dumps(about), encoding="utf-8")
    sentence = (
        r"in transformers 5\S+ ParakeetFeatureExtractor needs librosa, which is not installed; "
        "pip install librosa, or a newer transformers$"
    )
    with pytest.raises(ConfigError, match=sentence):
        load_collator(ParakeetTDTConfig(path=str(tmp_path)))
    with torch.device("meta"):
        weights = nemo_state(ParakeetForTDT(model_config(nemo_config(9))))
    state = {name: torch.zeros(tensor.shape) for name, tensor in weights.items()}
    saved = io.BytesIO()
    torch.save(state, saved)
    members = {
        "model_config.yaml": yaml.safe_dump(nemo_config(9)).encode(),
        "model_weights.ckpt": saved.getvalue(),
        "tokenizer.model": sentencepiece_model(9),
    }
    with pytest.raises(ConfigError, match=sentence):
        convert_nemo(write_archive(tmp_path / "x.nemo", members), tmp_path / "out")
