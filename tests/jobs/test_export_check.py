"""`export verify_on=`: checkpoint and export hear the same recordings before the export is kept."""

import json
from pathlib import Path

import pytest

from qasr_train.errors import CheckpointError, ConfigError, DataError
from qasr_train.evaluation.copies import hear, load_checked_on
from qasr_train.jobs.export import check_export
from qasr_train.jobs.export import run as run_job
from qasr_train.jobs.settings.export import ExportConfig
from qasr_train.models.exporting.weights import Export
from qasr_train.models.families import load_model
from qasr_train.models.qwen3_asr.config import Qwen3ASRConfig
from qasr_train.models.qwen3_asr.layouts import save_native
from qasr_train.models.settings import ExportDtype, ExportLayout
from qasr_train.run.settings import Device
from tests.helpers import tone, write_wav
from tests.helpers_model import tiny_model, tiny_processor

LONGEST_S = 30.0


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model/ and other/, checkpoints; clips.jsonl, whose references are what model/ hears."""
    folder = tmp_path_factory.mktemp("check")
    save_native(tiny_model(), tiny_processor(), folder / "model")
    save_native(tiny_model(seed=1), tiny_processor(), folder / "other")
    rows = []
    for number, seconds in enumerate((0.3, 0.4)):
        write_wav(folder / f"{number}.wav", tone(seconds, frequency_hz=200.0 * (number + 1)))
        rows.append({"id": f"u{number}", "audio_filepath": f"{number}.wav", "duration": seconds, "text": "x"})
    write_rows(folder, rows)
    heard = hear(
        load_model(Qwen3ASRConfig(path=str(folder / "model")), device="cpu"),
        load_checked_on(str(folder / "clips.jsonl"), "verify_on"),
        LONGEST_S,
    )
    write_rows(folder, [row | {"text": one.pred_text} for row, one in zip(rows, heard, strict=True)])
    return folder


def write_rows(folder: Path, rows: list[dict]) -> None:
    (folder / "clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def settings(work: Path, out: Path, **others: object) -> ExportConfig:
    fixed = {"verify_on": str(work / "clips.jsonl"), "device": Device.cpu, "dtype": ExportDtype.float32}
    return ExportConfig(checkpoint=str(work / "model"), out=str(out), **(fixed | others))  # type: ignore[arg-type]


def test_an_export_that_says_the_same_is_kept_and_said(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_job(settings(work, tmp_path / "out", layout=ExportLayout.original))
    said = capsys.readouterr().out.splitlines()
    assert said[1].startswith("checked on 2 recordings: 2 texts equal; WER 0.00 % before, 0.00 % after (+0.00 points")
    assert len(said) == 2 and (tmp_path / "out/config.json").is_file()


def test_an_export_that_says_other_words_is_refused(work: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"the export of .*model is not kept: WER 0.00 % before, .* texts differ"):
        check_export(
            work / "other",
            Export(str(work / "model"), ExportLayout.native, ExportDtype.float32, [], 1.0, None, None),
            load_checked_on(str(work / "clips.jsonl"), "verify_on"),
            settings(work, tmp_path / "out"),
        )


def test_rows_without_a_reference_are_refused_and_splits_are_all_one(
    work: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [json.loads(line) for line in (work / "clips.jsonl").read_text().splitlines()]
    for row, split in zip(rows, ("train", "test"), strict=True):
        row |= {"split": split, "audio_filepath": str(work / row["audio_filepath"])}
    write_rows(tmp_path, rows)
    assert len(load_checked_on(str(tmp_path / "clips.jsonl"), "verify_on").utterances) == 2 and caplog.text == ""
    write_rows(tmp_path, [{name: value for name, value in row.items() if name != "text"} for row in rows])
    with pytest.raises(
        DataError, match=r"lacks a column for `text`; it has [\w, ]+; make a manifest of it with recipes/prepare.py"
    ):
        load_checked_on(str(tmp_path / "clips.jsonl"), "verify_on")
    write_rows(tmp_path, [rows[0], rows[1] | {"text": None}])
    with pytest.raises(DataError, match="verify_on=.*: 1 of 2 rows state no text, the first is 'u1'"):
        load_checked_on(str(tmp_path / "clips.jsonl"), "verify_on")


def test_recordings_that_cannot_be_read_stop_it_before_anything_is_written(work: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere.jsonl"):
        run_job(settings(work, tmp_path / "out", verify_on="nowhere.jsonl"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("meant", [{"strength": 0.5}, {"average": ["x"]}])
def test_what_is_meant_to_say_something_else_is_not_compared(work: Path, tmp_path: Path, meant: dict) -> None:
    with pytest.raises(ConfigError, match="verify_on: asks whether the export says what the checkpoint says"):
        settings(work, tmp_path / "out", **meant)
