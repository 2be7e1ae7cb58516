"""Qwen3-ASR for CrispASR: names, number formats and settings in the GGUF file, how the result is heard before it is kept.

gguf and crispasr are no part of the tests' environment: a stand-in records what is written and asked. With the libraries
installed the last test hears a real conversion of the bundled model.
"""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from qasr_train.batch import Recording
from qasr_train.errors import CheckpointError, ConfigError
from qasr_train.evaluation.copies import compare_words, hear, load_checked_on
from qasr_train.jobs.export import export
from qasr_train.jobs.settings.export import ExportConfig
from qasr_train.models.exporting.hub import Repository, plan_upload
from qasr_train.models.families import load_collator, load_model
from qasr_train.models.qwen3_asr.config import Qwen3ASRConfig
from qasr_train.models.qwen3_asr.converted import ConvertedQwen3ASR, convert, gguf_name, open_converted
from qasr_train.models.qwen3_asr.layouts import save_native
from qasr_train.models.settings import ExportDtype, ExportTarget
from tests.helpers import ROOT, tone, utterance, write_wav
from tests.helpers_model import VOCAB_SIZE, tiny_model, tiny_processor

CPU = torch.device("cpu")


class Library:
    """Stands in for gguf and crispasr. says: what every clip is heard as."""

    says = "two small pills"

    def __init__(self) -> None:
        self.written: dict[str, np.ndarray] = {}
        self.settings: dict[str, Any] = {}
        self.asked: list[tuple[int, str | None]] = []
        self.GGMLQuantizationType = SimpleNamespace(Q8_0="Q8_0")
        self.GGUFWriter, self.Session = self._writer, self._open
        self.quants = SimpleNamespace(quantize=lambda values, kind: values.astype(np.int8))

    def _writer(self, path: str, arch: str, use_temp_file: bool) -> "Library":
        self.path, self.settings["arch"] = path, arch
        self.written.clear()
        return self

    def add_uint32(self, key: str, value: int) -> None:
        assert isinstance(value, int)
        self.settings[key] = value

    def add_float32(self, key: str, value: float) -> None:
        assert isinstance(value, float)
        self.settings[key] = value

    def add_tokenizer_model(self, name: str) -> None:
        self.settings["model"] = name

    def add_token_list(self, tokens: list[str]) -> None:
        self.settings["tokens"] = tokens

    def add_token_merges(self, merges: list[str]) -> None:
        self.settings["merges"] = merges

    def add_tensor(self, name: str, values: np.ndarray, raw_dtype: str | None = None) -> None:
        assert (raw_dtype == "Q8_0") is (values.dtype == np.int8) and values.flags["C_CONTIGUOUS"]
        assert name not in self.written
        self.written[name] = values

    def write_header_to_file(self) -> None:
        Path(self.path).write_bytes(b"x")

    write_kv_data_to_file = write_tensors_to_file = close = lambda self: None

    def _open(self, path: str, n_threads: int) -> "Library":
        if not Path(path).is_file():
            raise RuntimeError(f"failed to open '{path}'")
        return self

    def set_max_new_tokens(self, most: int) -> None:
        self.most = most

    def transcribe(self, samples: np.ndarray, sample_rate: int, language: str | None) -> list[Any]:
        assert samples.dtype == np.float32 and sample_rate == 16_000
        self.asked.append((len(samples), language))
        return [SimpleNamespace(text=word) for word in self.says.split()]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gguf") / "base"
    save_native(tiny_model(), tiny_processor(), folder)
    return folder


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    stand_in = Library()
    for name, value in (("gguf", stand_in), ("gguf.quants", stand_in.quants), ("crispasr", stand_in)):
        monkeypatch.setitem(sys.modules, name, value)  # type: ignore[arg-type]
    return stand_in


@pytest.mark.parametrize(
    ("native", "gguf"),
    [
        ("model.audio_tower.conv2d2.bias", "audio.conv.2.bias"),
        ("model.audio_tower.conv_out.weight", "audio.conv_out.weight"),
        ("model.audio_tower.ln_post.bias", "audio.ln_post.bias"),
        ("model.audio_tower.layers.17.self_attn.out_proj.bias", "audio.blk.17.attn_out.bias"),
        ("model.audio_tower.layers.0.self_attn_layer_norm.weight", "audio.blk.0.attn_norm.weight"),
        ("model.audio_tower.layers.3.fc2.weight", "audio.blk.3.ffn_down.weight"),
        ("model.multi_modal_projector.linear_1.weight", "audio.proj1.weight"),
        ("model.language_model.embed_tokens.weight", "token_embd.weight"),
        ("model.language_model.layers.5.self_attn.q_norm.weight", "blk.5.attn_q_norm.weight"),
        ("model.language_model.layers.5.self_attn.o_proj.weight", "blk.5.attn_output.weight"),
        ("model.language_model.layers.27.post_attention_layernorm.weight", "blk.27.ffn_norm.weight"),
        ("model.language_model.layers.1.mlp.gate_proj.weight", "blk.1.ffn_gate.weight"),
        ("model.language_model.norm.weight", "output_norm.weight"),
        ("lm_head.weight", "output.weight"),
    ],
)
def test_tensors_have_the_names_that_crispasr_asks_for(native: str, gguf: str) -> None:
    assert gguf_name(native) == gguf


@pytest.mark.parametrize("dtype", [ExportDtype.float16, ExportDtype.int8])
def test_what_is_written(base: Path, library: Library, tmp_path: Path, dtype: ExportDtype) -> None:
    convert(base, tmp_path / "out", dtype)
    state = tiny_model().state_dict()
    written = library.written
    assert len(written) == len(state) + 2  # filters and window of the log-mel
    layer = written["blk.1.ffn_up.weight"]
    assert layer.shape == (96, 48) and layer.dtype == np.float16  # 48 is no multiple of 32
    down, wanted = written["blk.1.ffn_down.weight"], state["model.language_model.layers.1.mlp.down_proj.weight"]
    assert down.dtype == (np.int8 if dtype is ExportDtype.int8 else np.float16)
    if dtype is ExportDtype.float16:
        np.testing.assert_array_equal(down, wanted.numpy().astype(np.float16))
    kinds = {name: values.dtype for name, values in written.items()}
    assert kinds["token_embd.weight"] == kinds["output.weight"] == kinds["audio.conv.1.weight"] == np.float16
    assert (
        kinds["audio.blk.0.ffn_up.bias"]
        == kinds["blk.0.attn_q_norm.weight"]
        == kinds["audio.mel_filters"]
        == np.float32
    )
    np.testing.assert_array_equal(written["output.weight"], written["token_embd.weight"])
    assert written["audio.mel_filters"].shape == (201, 128) and written["audio.mel_window"].shape == (400,)


def test_settings_and_tokens_are_the_models_own(base: Path, library: Library, tmp_path: Path) -> None:
    convert(base, tmp_path / "out", ExportDtype.float16)
    said, ids = library.settings, tiny_processor().tokenizer.convert_tokens_to_ids
    assert said["arch"] == "qwen3asr"
    assert (said["qwen3asr.eos_token_id"], said["qwen3asr.audio_pad_token_id"]) == (
        ids("<|im_end|>"),
        ids("<|audio_pad|>"),
    )
    assert (said["qwen3asr.llm.n_kv_heads"], said["qwen3asr.llm.head_dim"], said["qwen3asr.audio.head_dim"]) == (
        2,
        16,
        8,
    )
    assert said["qwen3asr.llm.rope_theta"] == 1_000_000.0
    tokens = said["tokens"]
    assert (
        len(tokens) == VOCAB_SIZE
        and tokens[ids("<asr_text>")] == "<asr_text>"
        and tokens[-1] == f"[PAD{VOCAB_SIZE - 1}]"
    )
    assert all(len(merge.split(" ")) == 2 for merge in said["merges"])


def test_the_folder_holds_the_file_and_its_card_and_goes_to_the_hub(
    base: Path, library: Library, tmp_path: Path
) -> None:
    out = export(
        ExportConfig(checkpoint=str(base), out=str(tmp_path / "out"), target=ExportTarget.crispasr, license="mit")
    )
    assert {path.name for path in out.iterdir()} == {"model.gguf", "README.md"}
    card = (out / "README.md").read_text()
    assert "library_name: gguf" in card and "hears a clip of more than 8 s whole" in card
    assert plan_upload(out, Repository("me/small")).files.keys() == {"model.gguf", "README.md"}


def test_int8_is_heard_by_crispasr_before_it_is_kept(base: Path, library: Library, tmp_path: Path) -> None:
    write_wav(tmp_path / "clips/0.wav", tone(0.3))
    row = '{"id": "u", "audio_filepath": "0.wav", "duration": 0.3, "text": "two small pills", "context": "fox"}\n'
    (tmp_path / "clips/clips.jsonl").write_text(row)
    settings: dict[str, Any] = {"target": ExportTarget.crispasr, "dtype": ExportDtype.int8}
    settings |= {"checkpoint": str(base), "verify_on": str(tmp_path / "clips/clips.jsonl")}
    export(ExportConfig(out=str(tmp_path / "out"), **settings))
    assert library.asked == [(8000, None)]  # silence up to half a second, as the model is given
    library.says = "two small boxes of pills and a fox or two"  # whatever the model itself hears, this is no better
    with pytest.raises(CheckpointError, match="is not kept: WER .* after"):
        export(ExportConfig(out=str(tmp_path / "other"), max_wer_increase=0.0, **settings | {"checkpoint": str(base)}))
    assert not (tmp_path / "other").exists()


def test_a_format_it_has_not_is_refused(base: Path, library: Library, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="dtype=bfloat16: layout=gguf has none such; leave it out, or take float16 or int8"
    ):
        export(
            ExportConfig(
                checkpoint=str(base),
                out=str(tmp_path / "out"),
                target=ExportTarget.crispasr,
                dtype=ExportDtype.bfloat16,
            )
        )


def test_language_and_limit_are_handed_on(base: Path, library: Library, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").touch()
    model = open_converted(tmp_path, load_collator(Qwen3ASRConfig(path=str(base))), ExportDtype.int8, CPU)
    clips = [Recording(utterance(id="a"), tone(0.3)), Recording(utterance(id="b"), tone(0.6))]
    batch = model.collator.for_transcription(clips, language="English", use_context=False)
    heard = model.transcribe(batch, max_new_tokens=7)
    assert [(one.id, one.text, one.language) for one in heard] == [
        ("a", "two small pills", "English"),
        ("b", "two small pills", "English"),
    ]
    assert library.asked == [(8000, "en"), (9600, "en")] and library.most == 7


def test_a_file_that_is_none_and_a_library_that_is_not_there(
    base: Path, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CheckpointError, match="CrispASR cannot open it .failed to open"):
        open_converted(tmp_path, load_collator(Qwen3ASRConfig(path=str(base))), ExportDtype.int8, CPU)
    monkeypatch.setitem(sys.modules, "crispasr", None)
    with pytest.raises(
        ConfigError, match=r"layout=gguf needs the packages gguf, .*pip install 'qasr_train\[crispasr\]'"
    ):
        export(ExportConfig(checkpoint=str(base), out=str(tmp_path / "out"), target=ExportTarget.crispasr))
    assert list(tmp_path.iterdir()) == []


def test_a_real_conversion_says_what_we_say(tmp_path: Path) -> None:
    pytest.importorskip("crispasr")
    pytest.importorskip("gguf")
    bundled = ROOT / "qasr_train/assets/tiny"
    for number in range(3):
        write_wav(tmp_path / f"{number}.wav", tone(0.5, frequency_hz=200.0 * (number + 1)))
    rows = [f'{{"id": "u{n}", "audio_filepath": "{n}.wav", "duration": 0.5, "text": "x"}}\n' for n in range(3)]
    (tmp_path / "clips.jsonl").write_text("".join(rows))
    one = load_checked_on(str(tmp_path / "clips.jsonl"), "verify_on")
    convert(bundled, tmp_path / "out", ExportDtype.float16)
    config = Qwen3ASRConfig(path=str(bundled))
    theirs = open_converted(tmp_path / "out", load_collator(config), ExportDtype.float16, CPU)
    assert isinstance(theirs, ConvertedQwen3ASR)
    ours = hear(load_model(config, device="cpu"), one, 8.0)
    assert compare_words(ours, hear(theirs, one, 8.0, use_context=False)).changed == []
