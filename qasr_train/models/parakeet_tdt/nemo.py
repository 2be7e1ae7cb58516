"""Owns turning a Parakeet TDT of NeMo (a .nemo archive, such as the 1.1B) into a directory of transformers' layout.

Input: the archive. Output: config, weights, generation settings, tokenizer and feature extractor. No NeMo is needed.
Names as NeMo 2 writes them; what they became was checked on synthetic weights, see docs/systems.md.
"""

import io
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from tokenizers import AddedToken
from transformers import (
    ParakeetFeatureExtractor,
    ParakeetForTDT,
    ParakeetProcessor,
    ParakeetTDTConfig,
    ParakeetTokenizer,
)
from transformers.convert_slow_tokenizer import ParakeetConverter

from qasr_train.errors import CheckpointError
from qasr_train.models.blocks.fastconformer import encoder_name, encoder_settings, is_frontend_constant
from qasr_train.models.pretrained import naming_missing_packages, save_pretrained

BLANK = "<blank>"
# NeMo's name -> transformers', by the start of the name; the encoder's are in fastconformer.py.
_DECODER_NAMES = {
    "decoder.prediction.embed.": "decoder.embedding.",
    "decoder.prediction.dec_rnn.lstm.": "decoder.lstm.",
    "joint.enc.": "encoder_projector.",
    "joint.pred.": "decoder.decoder_projector.",
    "joint.joint_net.2.": "joint.head.",
}


def convert_nemo(archive: Path, folder: Path) -> None:
    """Write the transformers directory of a .nemo archive of Parakeet TDT.

    Args:
        archive: a tar file with model_config.yaml, model_weights.ckpt and a SentencePiece model.
        folder: made where missing.

    Raises:
        CheckpointError: a member is missing, or the weights are not those of a Parakeet TDT of that configuration.
        ConfigError: transformers' feature extractor needs a package that is not installed.
        OSError: the disk is full or the folder cannot be written.
    """
    nemo_config, state, sentencepiece = _read_archive(archive)
    config = model_config(nemo_config)
    with torch.device("meta"):
        module = ParakeetForTDT(config)
    try:
        module.load_state_dict(convert_state_dict(state), strict=True, assign=True)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise CheckpointError(f"{archive}: not a Parakeet TDT of its model_config.yaml ({first[:200]})") from error
    save_pretrained(module, _processor(nemo_config, sentencepiece, config.blank_token_id), folder)


def convert_state_dict(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors under ParakeetForTDT's names; NeMo's window and mel matrix are left out, none is reshaped."""
    return {_name(name): tensor for name, tensor in state.items() if not is_frontend_constant(name)}


def model_config(nemo_config: Mapping[str, Any]) -> ParakeetTDTConfig:
    """The configuration of a NeMo model_config.yaml; the blank is the token after the last label, and pads as well."""
    prediction = nemo_config["decoder"]["prednet"]
    blank_id = len(nemo_config["labels"])
    durations = nemo_config.get("model_defaults", {}).get("tdt_durations") or nemo_config["decoding"]["durations"]
    return ParakeetTDTConfig(
        vocab_size=blank_id + 1,
        decoder_hidden_size=prediction["pred_hidden"],
        num_decoder_layers=prediction["pred_rnn_layers"],
        durations=list(durations),
        encoder_config=encoder_settings(nemo_config["encoder"]),
        pad_token_id=blank_id,
        blank_token_id=blank_id,
    )


def _name(nemo_name: str) -> str:
    if nemo_name.startswith("encoder."):
        return "encoder." + encoder_name(nemo_name.removeprefix("encoder."))
    for theirs, ours in _DECODER_NAMES.items():
        if nemo_name.startswith(theirs):
            return ours + nemo_name.removeprefix(theirs)
    return nemo_name


def _processor(nemo_config: Mapping[str, Any], sentencepiece: bytes, blank_id: int) -> ParakeetProcessor:
    with tempfile.NamedTemporaryFile(suffix=".model") as file:  # transformers' converter reads a path
        file.write(sentencepiece)
        file.flush()
        backend = ParakeetConverter(file.name).converted()
    tokenizer = ParakeetTokenizer(tokenizer_object=backend, clean_up_tokenization_spaces=False)
    tokenizer.add_tokens([AddedToken(BLANK, normalized=False, special=True)])
    tokenizer.add_special_tokens({"pad_token": BLANK, "unk_token": "<unk>"})
    if tokenizer.convert_tokens_to_ids(BLANK) != blank_id:
        raise CheckpointError(
            f"the tokenizer has {len(tokenizer) - 1} pieces and model_config.yaml {blank_id} labels; they must be equal"
        )
    front = nemo_config["preprocessor"]
    rate_hz = front["sample_rate"]
    with naming_missing_packages("the features"):
        extractor = ParakeetFeatureExtractor(
            feature_size=front["features"],
            sampling_rate=rate_hz,
            hop_length=round(front["window_stride"] * rate_hz),
            win_length=round(front["window_size"] * rate_hz),
            n_fft=front["n_fft"],
            preemphasis=front.get("preemph", 0.97),
        )
    return ParakeetProcessor(extractor, tokenizer, blank_token=BLANK, decoder_type="tdt")


def _read_archive(archive: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor], bytes]:
    """model_config.yaml, tensors, and the SentencePiece model; nothing is unpacked to disk, nothing unpickled but tensors."""
    if not archive.is_file():
        raise CheckpointError(f"{archive}: no such file; give the .nemo archive as it was downloaded")
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(archive) as opened:
            for member in opened.getmembers():
                name = Path(member.name).name
                kind = "tokenizer.model" if name.endswith("tokenizer.model") else name
                if kind in ("model_config.yaml", "model_weights.ckpt", "tokenizer.model"):
                    content = opened.extractfile(member)
                    found[kind] = content.read() if content else b""
    except (tarfile.TarError, OSError) as error:
        raise CheckpointError(f"{archive}: not a .nemo archive ({error}); download it again") from error
    for kind in ("model_config.yaml", "model_weights.ckpt", "tokenizer.model"):
        if kind not in found:
            raise CheckpointError(f"{archive}: holds no {kind}, which a .nemo archive of Parakeet TDT has")
    state = torch.load(io.BytesIO(found["model_weights.ckpt"]), map_location="cpu", weights_only=True)
    return yaml.safe_load(found["model_config.yaml"]), state, found["tokenizer.model"]
