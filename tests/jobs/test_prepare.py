"""Preparing a corpus: manifest, rejects, summary, splits, going on after an interruption, and the sentence for each mistake."""

import errno
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from qasr_train.config.command_line import exit_status, run_command_line
from qasr_train.corpus import worker
from qasr_train.corpus.overlap import SharedBy
from qasr_train.corpus.pool import check_all
from qasr_train.corpus.splits import SplitBy
from qasr_train.corpus.worker import Task
from qasr_train.errors import ConfigError, DataError
from qasr_train.jobs.prepare import prepare
from qasr_train.jobs.recipes import PROJECT
from qasr_train.jobs.settings.prepare import Duplicates, OverlapConfig, PrepareConfig, SplitConfig
from qasr_train.sources.corpora.written import Layout
from qasr_train.sources.settings import SourceConfig
from qasr_train.sources.source import load_utterances
from tests.helpers import ROOT, SHARED, needs_shared, tone, write_wav
from tests.helpers_copies import Copy, start_script


def write_corpus(folder: Path, *rows: dict[str, Any]) -> Path:
    """raw.jsonl with the rows; a row without `audio` gets a tone of its own, 0.5 s."""
    lines = []
    for number, row in enumerate(rows):
        if "audio" not in row:
            write_wav(folder / f"clip{number}.wav", tone(0.5, frequency_hz=200 + 10 * number))
        lines.append(json.dumps({"audio": f"clip{number}.wav", "text": f"text {number}", "language": "en", **row}))
    (folder / "raw.jsonl").write_text("\n".join(lines) + "\n")
    return folder / "raw.jsonl"


def run(path: Path, out: Path, **settings: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]:
    """(manifest, rejects, summary) of a prepared source; checks in this process unless told otherwise."""
    config = PrepareConfig(source=SourceConfig(path=str(path)), out=str(out), **{"num_workers": 0, **settings})
    prepare(config)
    return (
        rows_of(out / "manifest.jsonl"),
        rows_of(out / "rejects.jsonl"),
        json.loads((out / "summary.json").read_text()),
    )


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_clips_are_written_as_kaldi_and_lhotse_too_where_asked(tmp_path: Path) -> None:
    path = write_corpus(tmp_path, {"id": "a", "speaker": "x"}, {"id": "b", "speaker": "y"})
    run(path, tmp_path / "out", also=[Layout.kaldi, Layout.lhotse], convert=True)
    for name in ("kaldi/all", "lhotse/cuts_all.jsonl.gz"):
        read = load_utterances(SourceConfig(path=str(tmp_path / "out" / name)), "s")
        assert [(one.text, one.speaker, Path(str(one.audio)).suffix) for one in read] == [
            ("text 0", "x", ".flac"),
            ("text 1", "y", ".flac"),
        ]


# -- what comes out ----------------------------------------------------------------------------------------------------


def test_clips_of_test_sets_are_told_dropped_or_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tests").mkdir()
    spoken = "give the patient two of these pills every morning"
    test = write_corpus(tmp_path / "tests", {}, {"text": spoken, "audio": str(tmp_path / "other.wav")})
    write_wav(tmp_path / "other.wav", tone(0.5, frequency_hz=1000))
    rows = [{}, {}, {"text": f"Please, {spoken.upper()}!"}, {"text": spoken, "split": "test"}]
    raw = write_corpus(tmp_path, *[{"split": "train", **row} for row in rows])
    asked = {"tests": {"own": SourceConfig(path=str(test))}}

    manifest, _, summary = run(raw, tmp_path / "kept", overlap=OverlapConfig(**asked))
    assert len(manifest) == 4
    [finding] = summary["with_tests"]
    assert (finding["severity"], finding["ids"]) == (3, ["clip0", "clip2"])
    said = "LEAK: 2 clips stand in test set 'own' (2 clips): 1 by their sound, 1 by a run of words (e.g. clip0: clip0)"
    assert finding["text"] == said and said in capsys.readouterr().out

    manifest, rejects, summary = run(raw, tmp_path / "dropped", overlap=OverlapConfig(**asked, then=Duplicates.drop))
    assert [row["id"] for row in manifest] == ["clip1", "clip3"]  # rows of the split test are nobody's training data
    assert [row["reason"] for row in rejects] == [
        "stands in test set 'own' by its sound (clip0)",
        "stands in test set 'own' by a run of its words (other: give the patient two of these pills every)",
    ]
    assert summary["with_tests"][0]["text"] == "nothing is shared with test set 'own' (2 clips)"

    by_sound = OverlapConfig(**asked, then=Duplicates.drop, by=[SharedBy.audio])
    assert len(run(raw, tmp_path / "by_sound", overlap=by_sound)[0]) == 3
    longer = OverlapConfig(**asked, then=Duplicates.drop, num_words=10)
    assert len(run(raw, tmp_path / "longer", overlap=longer)[0]) == 3
    with pytest.raises(
        DataError, match="clip0 stands in test set 'own' by its sound .*2 such clips in all.*overlap.then=drop"
    ):
        run(raw, tmp_path / "refused", overlap=OverlapConfig(**asked, then=Duplicates.error))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"by": []}, r"overlap.by=\[\]: name audio, text or both"),
        (
            {"then": Duplicates.drop},
            "overlap.then=drop: there is nothing to look clips up in; give overlap.tests.NAME.path",
        ),
    ],
)
def test_a_check_against_no_test_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        OverlapConfig(**given)


def test_the_manifest_is_measured_and_can_be_read_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_corpus(tmp_path, {"duration": 9.0, "speaker": "s1"}, {"text": "", "speaker": "s2", "language": "de"})
    monkeypatch.chdir(tmp_path)
    manifest, rejects, summary = run(Path("raw.jsonl"), Path("out"))
    assert manifest == [
        {
            "version": 1,
            "id": "clip0",
            "audio": str(tmp_path / "clip0.wav"),
            "text": "text 0",
            "language": "English",
            "speaker": "s1",
            "duration_s": 0.5,
        },
        {
            "version": 1,
            "id": "clip1",
            "audio": str(tmp_path / "clip1.wav"),
            "text": "",
            "language": "German",
            "speaker": "s2",
            "duration_s": 0.5,
        },
    ]
    assert rejects == []
    assert summary["total"] == {"num_clips": 2, "hours": 1 / 3600, "num_speakers": 2, "num_no_speech": 1}
    assert summary["languages"]["German"]["num_no_speech"] == 1
    assert summary["durations"] == {"0-1 s": 2}
    assert summary["characters"] == {"t": 2, "e": 1, "x": 1, " ": 1, "0": 1}
    assert summary["notes"] == {"the stated duration is off by more than half a second": 1}
    table = capsys.readouterr().out
    assert "English           1        0.00           1           0" in table
    assert "out/manifest.jsonl: 2 clips; out/rejects.jsonl: 0; more in out/audit.html" in table
    assert "| German | 1 | 0.00 | 1 | 1 |" in Path("out/summary.md").read_text()


def test_conversion_cuts_spans_and_names_files_safely(tmp_path: Path) -> None:
    write_wav(tmp_path / "long.wav", np.stack([tone(2.0, sample_rate_hz=8000)] * 2, axis=1), sample_rate_hz=8000)
    path = write_corpus(
        tmp_path,
        {"audio": "long.wav", "start": 0.5, "end": 1.25, "id": "../../etc/x y"},
        {"audio": "long.wav", "id": "文件"},
        {"audio": "long.wav", "id": "x/y", "start": 1},
    )
    manifest, _, _ = run(path, tmp_path / "out", convert=True)
    assert [row["duration_s"] for row in manifest] == [0.75, 2.0, 1.0]
    for row in manifest:
        file = tmp_path / "out" / row["audio"]
        assert file.resolve().is_relative_to((tmp_path / "out" / "audio").resolve())
        info = soundfile.info(file)
        assert (info.samplerate, info.channels, info.format) == (16_000, 1, "FLAC")
        assert info.frames == round(row["duration_s"] * 16_000)
        assert "start_s" not in row and "end_s" not in row
    assert len({row["audio"] for row in manifest}) == 3
    loaded = load_utterances(SourceConfig(path=str(tmp_path / "out" / "manifest.jsonl")), "main")
    assert all(Path(u.audio).is_file() for u in loaded if isinstance(u.audio, str))


def test_conversion_scales_what_is_beyond_full_scale_and_keeps_what_is_quiet(tmp_path: Path) -> None:
    write_wav(tmp_path / "loud.wav", tone(0.5, peak=2.0), subtype="FLOAT")
    write_wav(tmp_path / "quiet.wav", tone(0.5, peak=0.0005), subtype="FLOAT")
    path = write_corpus(tmp_path, {"audio": "loud.wav"}, {"audio": "quiet.wav"})
    manifest, _, summary = run(path, tmp_path / "out", convert=True)
    loud, quiet = (soundfile.read(tmp_path / "out" / row["audio"])[0] for row in manifest)
    assert np.abs(loud - tone(0.5, peak=1.0)).max() < 1e-3
    assert np.abs(quiet - tone(0.5, peak=0.0005)).max() < 1e-6  # 16 bits would err by 1.5e-5
    assert summary["notes"]["beyond full scale, written softer"] == 1


def test_rejects_say_why(tmp_path: Path) -> None:
    write_wav(tmp_path / "short.wav", tone(0.05))
    write_wav(tmp_path / "long.wav", tone(3.0))
    write_wav(tmp_path / "silent.wav", np.zeros(16_000))
    (tmp_path / "page.wav").write_text("<html>404</html>")
    path = write_corpus(
        tmp_path,
        {},
        {"audio": "short.wav"},
        {"audio": "long.wav"},
        {"audio": "silent.wav"},
        {"audio": "page.wav"},
        {"audio": "gone.wav"},
        {"text": None},
        {"text": "good<|im_end|>day"},
        {"audio": "silent.wav", "text": "", "id": "no speech"},
    )
    manifest, rejects, summary = run(path, tmp_path / "out", max_duration_s=2.0)
    assert [row["id"] for row in manifest] == ["clip0", "no speech"]
    assert {row["id"]: row["reason"] for row in rejects} == {
        "short": "lasts 0.05 s, less than min_duration_s=0.1",
        "long": "lasts 3 s, more than max_duration_s=2",
        "silent": "is digital silence, yet has a transcript",
        "page": "is a web page or XML, not a recording (download it again)",
        "gone": "no such file; check the path, and `audio_root` where paths are relative",
        "clip6": 'has no transcript (text is null); set it to "" where nobody speaks',
        "clip7": "its transcript holds '<|im_end|>', a token of the model",
    }
    assert rejects[0]["origin"] == f"{path}:5" and rejects[0]["audio"] == str(tmp_path / "page.wav")
    assert summary["num_rejected"] == 7


LEARN = "; if it is to be learned, name it in source.new_languages"


def test_a_row_of_an_unknown_language_is_rejected_and_the_others_are_prepared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: list[dict[str, Any]] = [{}, {"language": "nb"}, {"language": "Klingon"}, {"text": None}]
    path = write_corpus(tmp_path, *rows, {"language": None, "text": "language Klingon<asr_text>nuqneH"})
    manifest, rejects, summary = run(path, tmp_path / "out")
    assert [row["id"] for row in manifest] == ["clip0"]
    assert [(row["id"], row["origin"], row["reason"]) for row in rejects] == [
        ("clip1", f"{path}:2", f"unknown language 'nb' (Norwegian, a language the model was not trained on){LEARN}"),
        ("clip2", f"{path}:3", f"unknown language 'Klingon'{LEARN}"),
        ("clip4", f"{path}:5", f"unknown language 'Klingon'{LEARN}"),
        ("clip3", f"{path}:4", 'has no transcript (text is null); set it to "" where nobody speaks'),
    ]
    assert summary["rows"] == {"num_rows": 5, "num_taken": 2, "left_out": {"refused as they stand": 3}}
    assert "rows: 5 read, 1 in the manifest, 4 rejected\n" in capsys.readouterr().out
    with pytest.raises(DataError, match=r"all 1 clips were rejected, 1 of them like clip0: unknown language 'tlh';"):
        run(write_corpus(tmp_path, {"language": "tlh"}), tmp_path / "none")


def test_rows_in_are_rows_out_rejects_and_what_was_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_corpus(tmp_path, {"split": "train"}, {"split": "test"}, {"split": "train", "text": None})
    source = SourceConfig(path=str(path), split="train")
    prepare(PrepareConfig(source=source, out=str(tmp_path / "out"), num_workers=0))
    assert "rows: 3 read, 1 in the manifest, 1 rejected, 1 of split test left out\n" in capsys.readouterr().out
    assert "- rows: 3 read, 1 in the" in (tmp_path / "out" / "summary.md").read_text()


def test_debris_stays_to_the_letter_unless_it_is_to_be_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["so <b>bold</b>", "two  spaces &amp; [laughs] more", "plain"]
    path = write_corpus(tmp_path, *({"text": text} for text in texts))
    manifest, _, summary = run(path, tmp_path / "as it is")
    assert [row["text"] for row in manifest] == texts
    note = "markup in the transcript (<b>, &amp;)"
    assert summary["notes"][note] == 2 and summary["mended"] == {}
    assert f"{note}: 2 (e.g. clip0, clip1); mend=[markup] takes it out" in capsys.readouterr().out

    arguments = [f"source.path={path}", f"out={tmp_path / 'mended'}", "num_workers=0", "mend=[markup,spaces]"]
    assert run_command_line("prepare", arguments, PROJECT) == 0
    mended = [row["text"] for row in rows_of(tmp_path / "mended" / "manifest.jsonl")]
    assert mended == ["so bold", "two spaces & [laughs] more", "plain"]
    printed = capsys.readouterr().out
    assert f"mended: {note}: 2 transcripts" in printed
    assert "mended: runs of spaces, tabs or line breaks in the transcript: 1 transcripts" in printed
    assert "remarks in brackets in the transcript ([inaudible]): 1 (e.g. clip1); mend=[remarks] takes it out" in printed


def test_columns_that_are_missing_are_told_by_the_key_that_prepare_has(tmp_path: Path) -> None:
    path = tmp_path / "raw.jsonl"
    path.write_text('{"audio": "a.wav", "words": "x"}\n')
    with pytest.raises(DataError, match=r"name the right one with source.columns.text=COLUMN"):
        run(path, tmp_path / "out")


def test_all_clips_rejected_is_an_error_that_names_the_commonest_reason(tmp_path: Path) -> None:
    path = write_corpus(tmp_path, {}, {}, {"text": None})
    run(path, tmp_path / "out")
    with pytest.raises(DataError) as error:
        run(path, tmp_path / "out", min_duration_s=0.6)
    assert str(error.value) == (
        "all 3 clips were rejected, 3 of them like clip0: lasts 0.5 s, less than min_duration_s=0.6; "
        f"see {tmp_path / 'out' / 'rejects.jsonl'}"
    )
    assert len(rows_of(tmp_path / "out" / "rejects.jsonl")) == 3
    assert not (tmp_path / "out" / "manifest.jsonl").exists()  # the one of the first run would be a lie


# -- duplicates and splits ---------------------------------------------------------------------------------------------


def corpus_with_duplicates(folder: Path) -> Path:
    """clip0, the same sound as FLAC, the same sound with another text, and another sound."""
    samples, rate_hz = soundfile.read(write_wav(folder / "first.wav", tone(0.5, frequency_hz=200)), dtype="int16")
    soundfile.write(folder / "same.flac", samples, rate_hz)
    return write_corpus(
        folder, {}, {"audio": "same.flac", "text": "text 0"}, {"audio": "clip0.wav", "text": "other"}, {}
    )


def test_duplicates_are_found_across_formats(tmp_path: Path) -> None:
    path = corpus_with_duplicates(tmp_path)
    manifest, rejects, summary = run(path, tmp_path / "kept")
    assert len(manifest) == 4 and rejects == []
    assert (summary["num_duplicates"], summary["num_duplicates_with_other_text"]) == (2, 1)
    manifest, rejects, summary = run(path, tmp_path / "dropped", duplicates=Duplicates.drop)
    assert [row["id"] for row in manifest] == ["clip0", "clip3"]
    assert [row["reason"] for row in rejects] == [
        f"same sound and text as clip0 ({path}:1)",
        f"same sound and another text as clip0 ({path}:1)",
    ]
    with pytest.raises(
        DataError,
        match=r"raw.jsonl:2: same has the same sound and text as clip0 \(.*raw.jsonl:1\) \(2 such clips in all\)",
    ):
        run(path, tmp_path / "refused", duplicates=Duplicates.error)


def test_the_same_sound_with_another_text_is_named_with_both_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = corpus_with_duplicates(tmp_path)
    _, _, summary = run(path, tmp_path / "kept")
    assert summary["other_texts"] == [f"clip0-2 ({path}:3) as clip0 ({path}:1)"]
    assert f"2, 1 of them with another text (e.g. clip0-2 ({path}:3) as clip0 ({path}:1))" in capsys.readouterr().out


def test_shares_that_change_nothing_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shares = SplitConfig(dev_fraction=0.25, test_fraction=0.25, by=SplitBy.utterance)
    stated = write_corpus(tmp_path, *[{"split": "train"}] * 3, {"split": "test"})
    manifest, _, _ = run(stated, tmp_path / "stated", split=shares)
    assert [row["split"] for row in manifest] == ["train", "train", "train", "test"]
    (said,) = [record.getMessage() for record in caplog.records]
    assert "split.test_fraction change nothing: every row names a split (test 1, train 3)" in said
    caplog.clear()
    run(write_corpus(tmp_path, *[{}] * 4), tmp_path / "free", split=shares)
    run(stated, tmp_path / "no shares")
    assert not caplog.records


def test_a_leak_between_splits_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_corpus(tmp_path, {"split": "train"}, {"split": "train"}, {"split": "test", "audio": "clip0.wav"})
    run(path, tmp_path / "out")
    assert "LEAK: test and train share the sound of 1 clips of test (e.g. clip0-2)" in capsys.readouterr().out


def test_prepare_divides_by_speaker(tmp_path: Path) -> None:
    path = write_corpus(tmp_path, *[{"speaker": f"s{i // 2}"} for i in range(12)])
    manifest, _, summary = run(path, tmp_path / "out", split=SplitConfig(dev_fraction=0.2, test_fraction=0.2))
    assert {name: part["num_speakers"] for name, part in summary["splits"].items()} == {"train": 4, "dev": 1, "test": 1}
    assert all("split" in row for row in manifest)


# -- going on ----------------------------------------------------------------------------------------------------------


def count_decodings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths decoded from now on."""
    decoded: list[str] = []
    real = worker.load_audio

    def counted(audio: str, **span: Any) -> np.ndarray:
        decoded.append(Path(audio).name)
        return real(audio, **span)

    monkeypatch.setattr(worker, "load_audio", counted)
    return decoded


def test_a_second_run_decodes_only_what_is_new_or_changed_or_was_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.wav").write_text("")
    path = write_corpus(tmp_path, {}, {}, {"audio": "bad.wav"})
    first = run(path, tmp_path / "out")
    decoded = count_decodings(monkeypatch)
    assert run(path, tmp_path / "out", min_duration_s=0.2)[0] == first[0]
    assert decoded == ["bad.wav"]  # it may have been mended
    write_wav(tmp_path / "clip1.wav", tone(0.75))
    write_wav(tmp_path / "bad.wav", tone(0.25))
    decoded.clear()
    manifest, _, _ = run(path, tmp_path / "out")
    assert decoded == ["clip1.wav", "bad.wav"]
    assert [row["duration_s"] for row in manifest] == [0.5, 0.75, 0.25]


def test_words_of_a_part_that_becomes_a_file_have_its_times(tmp_path: Path) -> None:
    write_wav(tmp_path / "long.wav", tone(3.0))
    words = [{"text": "one", "start": 0.98, "end": 1.2}, {"text": "two", "start": 1.25, "end": None}]
    row = {"audio": "long.wav", "text": "one two", "start": 1.0, "end": 2.5, "words": words}
    path = write_corpus(tmp_path, row)
    [kept] = run(path, tmp_path / "kept")[0]
    assert kept["words"] == words
    [cut] = run(path, tmp_path / "cut", convert=True)[0]
    assert cut["words"] == [{"text": "one", "start": 0.0, "end": 0.2}, {"text": "two", "start": 0.25, "end": None}]
    [read] = load_utterances(SourceConfig(path=str(tmp_path / "cut" / "manifest.jsonl")), "main")
    assert [word.text for word in read.words] == ["one", "two"]


def test_a_converted_file_that_was_deleted_is_written_again(tmp_path: Path) -> None:
    path = write_corpus(tmp_path, {}, {})
    manifest, _, _ = run(path, tmp_path / "out", convert=True)
    (tmp_path / "out" / manifest[0]["audio"]).unlink()
    run(path, tmp_path / "out", convert=True)
    assert (tmp_path / "out" / manifest[0]["audio"]).is_file()


def test_other_settings_in_the_same_folder_are_refused(tmp_path: Path) -> None:
    path = write_corpus(tmp_path, {})
    run(path, tmp_path / "out")
    with pytest.raises(DataError, match=r"out=.*out: was begun with convert=False, not True; go on with the same"):
        run(path, tmp_path / "out", convert=True)


def test_a_torn_last_line_of_the_journal_costs_one_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_corpus(tmp_path, {}, {}, {})
    first, _, _ = run(path, tmp_path / "out")
    journal = tmp_path / "out" / ".prepare" / "journal.jsonl"
    journal.write_text(journal.read_text()[:-20])
    decoded = count_decodings(monkeypatch)
    assert run(path, tmp_path / "out")[0] == first
    assert decoded == ["clip2.wav"]
    run(path, tmp_path / "out")
    assert decoded == ["clip2.wav"]  # the line written after the torn one was read


def test_a_damaged_journal_says_so(tmp_path: Path) -> None:
    path = write_corpus(tmp_path, {}, {})
    run(path, tmp_path / "out")
    journal = tmp_path / "out" / ".prepare" / "journal.jsonl"
    journal.write_text(journal.read_text().replace('"key"', "key", 1))
    with pytest.raises(DataError, match=r"journal.jsonl:2: is damaged; delete the file to check everything again"):
        run(path, tmp_path / "out")


def test_a_full_disk_is_one_sentence_and_the_run_goes_on_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_corpus(tmp_path, {}, {}, {})
    real = Path.write_bytes

    def failing(self: Path, data: bytes) -> int:
        if "clip1" in self.name:
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return real(self, data)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", failing)
        with pytest.raises(
            DataError, match=r"clip1-\w+.flac: cannot be written \(no space left on the disk\) after 1 of 3"
        ):
            run(path, tmp_path / "out", convert=True)
    decoded = count_decodings(monkeypatch)
    manifest, _, _ = run(path, tmp_path / "out", convert=True)
    assert decoded == ["clip1.wav", "clip2.wav"]
    assert len(manifest) == 3


# -- worker processes --------------------------------------------------------------------------------------------------

# Makes soundfile die, or hang, on files whose name says so; read by the worker processes through PYTHONPATH.
SABOTAGE = """
import os, signal, time
import soundfile
class SoundFile(soundfile.SoundFile):
    def __init__(self, file, *args, **kwargs):
        name = os.path.basename(str(file))
        if name == "crash.wav":
            os.kill(os.getpid(), signal.SIGSEGV)
        if name == "flaky.wav" and not os.path.exists(str(file) + ".tried"):
            open(str(file) + ".tried", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        if name == "hang.wav":
            time.sleep(600)
        super().__init__(file, *args, **kwargs)
soundfile.SoundFile = SoundFile
"""


@pytest.fixture
def sabotaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SABOTAGE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))


@pytest.mark.usefixtures("sabotaged")
def test_a_decoder_that_crashes_or_hangs_costs_one_recording(tmp_path: Path) -> None:
    names = ["a.wav", "crash.wav", "b.wav", "hang.wav", "flaky.wav", "c.wav"]
    tasks = [Task(str(write_wav(tmp_path / name))) for name in names]
    replies = dict(check_all(tasks, num_workers=2, timeout_s=3.0))
    assert {names[i] for i, reply in replies.items() if reply.measured} == {"a.wav", "b.wav", "flaky.wav", "c.wav"}
    assert replies[1].rejected == "its decoder crashed twice (SIGSEGV); encode it again"
    assert replies[3].rejected == "took more than 3 s to decode; leave it out"


def test_workers_give_what_this_process_gives(tmp_path: Path) -> None:
    path = write_corpus(tmp_path, {}, {}, {"audio": "none.wav"}, {})
    assert run(path, tmp_path / "here", num_workers=0)[:2] == run(path, tmp_path / "there", num_workers=2)[:2]


def start(path: Path, out: Path, *settings: str) -> Copy:
    """`recipes/prepare.py` in a process of its own, far enough to have checked a few clips."""
    environment = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    given = [f"source.path={path}", f"out={out}", "num_workers=1", *settings]
    process = start_script(ROOT / "recipes" / "prepare.py", given, env=environment)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and num_checked(out) < 4:
        time.sleep(0.05)
    return process


def num_checked(out: Path) -> int:
    """Lines of the journal after its header."""
    journal = out / ".prepare" / "journal.jsonl"
    return max(0, len(journal.read_text().splitlines()) - 1) if journal.exists() else 0


@pytest.mark.usefixtures("sabotaged")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: signal.Signals
) -> None:
    path = write_corpus(tmp_path, {}, {}, {}, {}, {"audio": "hang.wav"})
    write_wav(tmp_path / "hang.wav", tone(0.5))
    process = start(path, tmp_path / "out")
    assert num_checked(tmp_path / "out") == 4
    process.send_signal(how)
    stderr = process.communicate(timeout=120)[1]  # on a busy machine
    if how == signal.SIGINT:
        assert process.returncode == 2
        assert "error: interrupted after 4 of 5 clips; the same command goes on from there" in stderr
        assert "Traceback" not in stderr
    decoded = count_decodings(monkeypatch)
    manifest, _, _ = run(path, tmp_path / "out")
    assert decoded == ["hang.wav"]
    assert len(manifest) == 5


@pytest.mark.usefixtures("sabotaged")
def test_two_at_once_in_one_folder_are_refused(tmp_path: Path) -> None:
    path = write_corpus(tmp_path, {}, {}, {}, {}, {"audio": "hang.wav"})
    write_wav(tmp_path / "hang.wav", tone(0.5))
    process = start(path, tmp_path / "out")
    try:
        with pytest.raises(DataError, match=r"out=.*: another prepare is at work here"):
            run(path, tmp_path / "out")
    finally:
        process.kill()
        process.communicate()


# -- mistakes ----------------------------------------------------------------------------------------------------------


def test_a_folder_with_a_foreign_manifest_is_left_alone(tmp_path: Path) -> None:
    path = write_corpus(tmp_path, {})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.jsonl").write_text("precious\n")
    with pytest.raises(
        DataError, match=r"out=.*: holds manifest.jsonl that prepare did not write; choose another folder"
    ):
        run(path, tmp_path / "out")
    assert [(p.name, p.read_text()) for p in (tmp_path / "out").iterdir()] == [("manifest.jsonl", "precious\n")]


def test_an_out_that_is_a_file_is_refused(tmp_path: Path) -> None:
    path = write_corpus(tmp_path, {})
    for out in (path, path / "below"):
        with pytest.raises(DataError, match=r"out=.*: a file stands where the folder should be; choose another folder"):
            run(path, out)


def test_an_out_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    path = write_corpus(tmp_path, {})
    with pytest.raises(DataError, match=r"out=/proc/prepared: cannot be written \(.*\); choose another folder"):
        run(path, Path("/proc/prepared"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"min_duration_s": 5.0, "max_duration_s": 5.0}, "min_duration_s=5.0 must be less than max_duration_s=5.0"),
        ({"source": SourceConfig(path="x", streaming=True)}, "source.streaming=true: prepare reads the whole corpus"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        PrepareConfig(**{"source": SourceConfig(path="x"), "out": "y", **settings})
    with pytest.raises(ConfigError, match="leave nothing for train; their sum must be less than 1"):
        SplitConfig(dev_fraction=0.5, test_fraction=0.5)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"audio": "clip0.wav", "text": "x"}\n{"audio": \n', "raw.jsonl:2: this line is not JSON"),
        ('{"audio": "clip0.wav", "words": "x"}\n', "raw.jsonl:1: lacks a column for `text`; it has audio, words"),
        ("\n", "raw.jsonl: holds no rows"),
        ('{"audio": "clip0.wav", "text": "x", "duration": -2}\n', "raw.jsonl:1: utterance 'clip0' has duration_s=-2.0"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, words: str
) -> None:
    write_corpus(tmp_path, {}).write_text(content)
    arguments = [f"source.path={tmp_path / 'raw.jsonl'}", f"out={tmp_path / 'out'}"]
    assert exit_status(lambda: run_command_line("prepare", arguments, PROJECT)) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
    assert line.startswith("error: ") and words in line
    assert not (tmp_path / "out").exists()


def test_the_command_line_prepares(tmp_path: Path) -> None:
    path = write_corpus(tmp_path, {}, {})
    arguments = [
        f"source.path={path}",
        f"out={tmp_path / 'out'}",
        "convert=true",
        "num_workers=0",
        "split.by=utterance",
    ]
    assert exit_status(lambda: run_command_line("prepare", arguments, PROJECT)) == 0
    assert len(rows_of(tmp_path / "out" / "manifest.jsonl")) == 2


@needs_shared
def test_the_odd_files_are_kept_or_rejected_never_fatal(tmp_path: Path) -> None:
    files = sorted(path for path in (SHARED / "odd_audio").iterdir() if path.suffix not in (".json", ".md"))
    path = write_corpus(tmp_path, *[{"audio": str(file), "text": "words"} for file in files])
    manifest, rejects, _ = run(path, tmp_path / "out", num_workers=2, convert=True)
    # 19 files hold no sound (tests/audio/test_decode.py); 1 sample, 5 ms and 50 ms are too short; one is digital silence.
    assert (len(manifest), len(rejects)) == (41, 23)
