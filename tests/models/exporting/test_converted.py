"""Whisper for faster-whisper: what the converter is given, what is left in the folder, how the result is heard before it is kept.

CTranslate2 is no part of the tests' environment: a stand-in records what it is asked. With the library installed the last test
hears a real conversion.
"""

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from qasr_train.batch import Recording
from qasr_train.errors import CheckpointError, ConfigError
from qasr_train.jobs.export import export
from qasr_train.jobs.settings.export import ExportConfig
from qasr_train.models.exporting.family import find_export
from qasr_train.models.exporting.hub import Repository, plan_upload
from qasr_train.models.families import load_collator, load_model
from qasr_train.models.settings import ExportDtype, ExportLayout, ExportTarget
from qasr_train.models.whisper.config import WhisperConfig
from qasr_train.models.whisper.converted import ConvertedWhisper, convert, open_converted
from tests.helpers import tone, utterance
from tests.models.tiny_families import save_tiny_whisper

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whisper") / "base"
    save_tiny_whisper(folder)
    return folder


class Library:
    """Stands in for ctranslate2. says: the ids that every clip is heard as; the first language it tells is German."""

    def __init__(self, says: list[int]) -> None:
        self.says = says
        self.given: dict[str, Any] = {}
        self.prompts: list[list[int]] = []
        self.StorageView = SimpleNamespace(from_array=lambda array: array)
        self.models = SimpleNamespace(Whisper=self._open)
        self.converters = SimpleNamespace(TransformersConverter=self._converter)

    def _converter(self, path: str, copy_files: list[str]) -> Any:
        def write(out: str, quantization: str) -> None:
            stored = load_file(Path(path) / "model.safetensors")
            self.given = {"dtypes": {tensor.dtype for tensor in stored.values()}, "quantization": quantization}
            Path(out).mkdir()
            (Path(out) / "model.bin").write_bytes(b"x")
            for name in copy_files:
                shutil.copy(Path(path) / name, out)

        return SimpleNamespace(convert=write)

    def _open(self, folder: str, device: str, compute_type: str) -> "Library":
        if not (Path(folder) / "model.bin").is_file():
            raise RuntimeError("Unable to open file 'model.bin'")
        self.given = {"device": device, "compute_type": compute_type}
        return self

    def encode(self, mel: np.ndarray) -> np.ndarray:
        assert mel.shape == (1, 80, 3000) and mel.dtype == np.float32 and mel.flags["C_CONTIGUOUS"]
        return mel

    def detect_language(self, sound: np.ndarray) -> list[list[tuple[str, float]]]:
        return [[("<|de|>", 0.9), ("<|en|>", 0.1)]]

    def generate(self, sound: np.ndarray, prompts: list[list[int]], beam_size: int, max_length: int) -> list[Any]:
        assert beam_size == 1
        self.prompts += prompts
        return [SimpleNamespace(sequences_ids=[self.says])]


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch, whisper: Path) -> Library:
    tokens = load_collator(WhisperConfig(path=str(whisper))).tokens  # type: ignore[attr-defined]
    stand_in = Library(tokens.encode("brown fox"))
    monkeypatch.setitem(sys.modules, "ctranslate2", stand_in)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "ctranslate2.converters", stand_in.converters)  # type: ignore[arg-type]
    return stand_in


def write_clips(folder: Path, *texts: str) -> str:
    from tests.helpers import write_wav

    rows = []
    for number, text in enumerate(texts):
        write_wav(folder / f"{number}.wav", tone(0.2, frequency_hz=300.0 * (number + 1)))
        rows.append(f'{{"id": "u{number}", "audio_filepath": "{number}.wav", "duration": 0.2, "text": "{text}"}}\n')
    (folder / "clips.jsonl").write_text("".join(rows))
    return str(folder / "clips.jsonl")


@pytest.mark.parametrize("dtype", ["auto", "bfloat16", "float32"])
def test_the_folder_holds_what_faster_whisper_reads_and_nothing_else(
    whisper: Path, library: Library, tmp_path: Path, dtype: str
) -> None:
    out = export(
        ExportConfig(
            checkpoint=str(whisper),
            out=str(tmp_path / "out"),
            target=ExportTarget.faster_whisper,
            dtype=ExportDtype(dtype),
        )
    )
    assert {path.name for path in out.iterdir()} == {
        *("model.bin", "tokenizer.json", "preprocessor_config.json", "README.md")
    }
    assert library.given == {"dtypes": {torch.float32}, "quantization": "float16" if dtype == "auto" else dtype}
    card = (out / "README.md").read_text()
    assert "library_name: ctranslate2" in card and "holds a CTranslate2 model" in card


def test_all_of_it_goes_to_the_hub(whisper: Path, library: Library, tmp_path: Path) -> None:
    out = export(
        ExportConfig(
            checkpoint=str(whisper), out=str(tmp_path / "out"), target=ExportTarget.faster_whisper, license="mit"
        )
    )
    upload = plan_upload(out, Repository("me/small"))
    assert upload.files.keys() == {path.name for path in out.iterdir()} and upload.left == []


def int8(whisper: Path, out: Path, clips: str, margin: float = 0.5) -> Path:
    return export(
        ExportConfig(
            checkpoint=str(whisper),
            out=str(out),
            target=ExportTarget.faster_whisper,
            dtype=ExportDtype.int8,
            verify_on=clips,
            max_wer_increase=margin,
        )
    )


def test_int8_is_made_of_float32_and_kept_where_it_says_the_words(
    whisper: Path, library: Library, tmp_path: Path
) -> None:
    clips = write_clips(tmp_path / "clips", "brown fox", "brown fox")  # what the stand-in says, whatever our own hears
    assert (int8(whisper, tmp_path / "out", clips) / "model.bin").is_file()
    assert library.given == {"device": "cpu", "compute_type": "int8"}


def test_int8_that_says_other_words_is_not_kept(whisper: Path, library: Library, tmp_path: Path) -> None:
    ours = load_model(WhisperConfig(path=str(whisper)), device="cpu")
    clip = Recording(utterance(id="u"), tone(0.2, frequency_hz=300.0))
    batch = ours.collator.for_transcription([clip], language=None, use_context=False)
    heard = ours.transcribe(batch, max_new_tokens=68)[0].text  # 64 and 16 a second
    assert heard.split()
    clips = write_clips(tmp_path / "clips", heard.replace("\\", " ").replace('"', " "))
    with pytest.raises(
        CheckpointError, match=r"is not kept: WER .* before, .* after .*, more than max_wer_increase=0.5"
    ):
        int8(whisper, tmp_path / "out", clips)
    assert [path.name for path in tmp_path.iterdir()] == ["clips"]


def test_int8_without_recordings_to_check_it_on_is_refused() -> None:
    with pytest.raises(ConfigError, match="dtype=int8: .* name recordings with transcripts: verify_on=MANIFEST"):
        ExportConfig(checkpoint="a", out="b", dtype=ExportDtype.int8)


def test_without_the_library_it_is_one_sentence(whisper: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    with pytest.raises(
        ConfigError, match=r"layout=ctranslate2 needs the package .*pip install 'qasr_train\[ctranslate2\]'"
    ):
        export(ExportConfig(checkpoint=str(whisper), out=str(tmp_path / "out"), target=ExportTarget.faster_whisper))
    assert list(tmp_path.iterdir()) == []


def test_other_layouts_hold_no_whole_numbers(whisper: Path) -> None:
    with pytest.raises(ConfigError, match="dtype=int8: is written by layout=ctranslate2 alone"):
        find_export(whisper)[1].require(ExportLayout.native, ExportDtype.int8)


@pytest.fixture
def opened(whisper: Path, library: Library, tmp_path: Path) -> ConvertedWhisper:
    (tmp_path / "model.bin").touch()
    return open_converted(tmp_path, load_collator(WhisperConfig(path=str(whisper))), ExportDtype.float16, CPU)


def clips(model: ConvertedWhisper, language: str | None) -> Any:
    recordings = [
        Recording(utterance(id="a"), tone(0.3)),
        Recording(utterance(id="b", context="the quick fox"), tone(0.6)),
    ]
    return model.collator.for_transcription(recordings, language=language, use_context=True)


def test_prompts_are_our_own_and_the_language_is_told_or_asked(opened: ConvertedWhisper, library: Library) -> None:
    tokens = opened.tokens
    told = opened.transcribe(clips(opened, "English"), max_new_tokens=20)
    start = [tokens.sot_id, *tokens.after_start("English")]
    assert library.prompts == [start, [*tokens.context_ids("the quick fox", beside=len(start)), *start]]
    assert [(one.id, one.text, one.language, one.is_truncated) for one in told] == [
        ("a", "brown fox", "English", False),
        ("b", "brown fox", "English", False),
    ]
    library.prompts.clear()
    asked = opened.transcribe(clips(opened, None), max_new_tokens=20)
    assert library.prompts[0] == [tokens.sot_id, *tokens.after_start("German")]
    assert {one.language for one in asked} == {"German"}
    assert library.given == {"device": "cpu", "compute_type": "float32"}  # a CPU is no faster in two bytes


def test_the_limit_of_new_tokens_cuts(opened: ConvertedWhisper, library: Library) -> None:
    assert len(library.says) > 2
    heard = opened.transcribe(clips(opened, "English"), max_new_tokens=2)[0]
    assert (heard.num_tokens, heard.is_truncated) == (2, True)


def test_a_folder_that_is_none_is_named(whisper: Path, library: Library, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="ctranslate2 cannot open it .Unable to open file 'model.bin'"):
        open_converted(tmp_path, load_collator(WhisperConfig(path=str(whisper))), ExportDtype.int8, CPU)


def test_a_real_conversion_says_what_we_say(whisper: Path, tmp_path: Path) -> None:
    pytest.importorskip("ctranslate2")
    native = export(ExportConfig(checkpoint=str(whisper), out=str(tmp_path / "native"), dtype=ExportDtype.float32))
    convert(native, tmp_path / "converted", ExportDtype.float32)
    ours = load_model(WhisperConfig(path=str(native)), device="cpu")
    theirs = open_converted(
        tmp_path / "converted", load_collator(WhisperConfig(path=str(native))), ExportDtype.float32, CPU
    )
    batch = clips(theirs, "German")
    expected = [one.text for one in ours.transcribe(batch, max_new_tokens=8)]
    assert [one.text for one in theirs.transcribe(batch, max_new_tokens=8)] == expected and any(expected)
