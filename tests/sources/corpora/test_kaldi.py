"""Kaldi's data folders, read and written."""

import logging
from pathlib import Path

import pytest

from qasr_train.errors import DataError
from qasr_train.manifest import Utterance
from qasr_train.sources.corpora.kaldi import write_kaldi
from qasr_train.sources.settings import SourceConfig
from qasr_train.sources.source import load_utterances
from tests.helpers import tone, write_wav


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".", 1 if name == "wav_scp" else 0)).write_text(text)
    return folder


def load(folder: Path, **fields: object) -> list[Utterance]:
    return load_utterances(SourceConfig(path=str(folder), **fields), "s")  # type: ignore[arg-type]


@pytest.fixture
def call(tmp_path: Path) -> Path:
    return write_wav(tmp_path / "sound" / "call one.wav", tone(4.0))


def test_segments_text_speakers_and_languages(tmp_path: Path, call: Path) -> None:
    write(
        tmp_path / "data",
        wav_scp=f"call {call}\n",
        segments="anna-1 call 0.5 1.5\nben-1 call 2 -1\n",
        text="anna-1 so it is\nben-1\n",
        utt2spk="anna-1 anna\nben-1 ben\n",
        utt2lang="anna-1 en\n",
    )
    first, second = load(tmp_path / "data")
    assert (first.id, first.text, first.speaker, first.language) == ("anna-1", "so it is", "anna", "English")
    assert (first.audio, first.start_s, first.end_s, first.duration_s) == (str(call), 0.5, 1.5, 1.0)
    assert (second.text, second.start_s, second.end_s, second.language) == ("", 2.0, None, None)


def test_without_segments_a_recording_is_an_utterance_and_folders_are_splits(tmp_path: Path) -> None:
    for split in ("dev", "train"):
        write_wav(tmp_path / "data" / split / "a.wav")
        write(tmp_path / "data" / split, wav_scp="a a.wav\n", text=f"a {split}\n")
        (tmp_path / "data" / split / "wav.scp").write_text(f"a-{split} a.wav\n")
        (tmp_path / "data" / split / "text").write_text(f"a-{split} {split}\n")
    rows = load(tmp_path / "data")
    assert [(one.id, one.split, one.text) for one in rows] == [("a-dev", "dev", "dev"), ("a-train", "train", "train")]
    assert all(Path(str(one.audio)).is_file() for one in rows)
    assert [one.id for one in load(tmp_path / "data", split="dev")] == ["a-dev"]


@pytest.mark.parametrize(
    ("entry", "channel"),
    [
        ("flac -c -d -s {} |", None),
        ("sph2pipe -f wav -p -c 2 {} |", 1),
        ("sox {} -t wav -r 16k - remix 1 |", 0),
        ("ffmpeg -i {} -f wav -ar 16000 - |", None),
        # as lhotse 1.33 writes a channel of a file
        ("ffmpeg -threads 1 -i {} -ar 8000 -map_channel 0.0.1  -f wav -threads 1 pipe:1 |", 1),
    ],
)
def test_a_command_that_only_decodes_is_read_as_its_file(
    entry: str, channel: int | None, tmp_path: Path, call: Path
) -> None:
    write(tmp_path / "data", wav_scp=f"a {entry.format(repr(str(call)))}\n", text="a x\n")
    [one] = load(tmp_path / "data")
    assert (one.audio, one.channel) == (str(call), channel)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"wav_scp": "a sox x.wav -t wav - speed 0.9 |\n"}, r"wav\.scp:1: .* is a command, which is not run here"),
        ({"wav_scp": "a touch x.wav |\n"}, "is a command, which is not run here"),
        ({"wav_scp": "a ffmpeg -ss 3 -i x.wav - |\n"}, "is a command, which is not run here"),
        ({"wav_scp": "a ffmpeg -i x.wav -t 3 - |\n"}, "is a command, which is not run here"),
        ({"wav_scp": "a ffmpeg -i x.wav -map_channel 0.1.0 - |\n"}, "is a command, which is not run here"),
        ({"wav_scp": "a raw.ark:17\n"}, r"is a place in an archive of Kaldi"),
        ({"wav_scp": "a x.wav\na y.wav\n"}, r"wav\.scp:2: 'a' stands twice"),
        ({"wav_scp": "a x.wav\n", "segments": "u b 0 1\n"}, r"segments:1: names the recording 'b', which .*wav\.scp"),
        ({"wav_scp": "a x.wav\n", "segments": "u a 0\n"}, r"segments:1: 'a 0'; expected utterance, recording"),
        ({"wav_scp": "a x.wav\n", "text": "b x\n"}, r"utterance 'a' has no line in .*text"),
        ({"wav_scp": "a x.wav\n"}, r"lacks a column for `text`"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(files: dict[str, str], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=sentence):
        load(
            write(
                tmp_path / "data",
                **({"text": "a x\nu x\n"} | files if len(files) == 1 and files["wav_scp"] != "a x.wav\n" else files),
            )
        )


def test_lines_of_text_that_are_of_no_utterance_are_told(
    tmp_path: Path, call: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "data", wav_scp=f"a {call}\n", text="a x\nb y\n")
    with caplog.at_level(logging.WARNING):
        assert len(load(tmp_path / "data")) == 1
    assert "1 lines are of no utterance, such as b" in caplog.text


def test_an_end_that_is_known_is_written_and_the_mark_of_an_unknown_one_where_it_is_not(tmp_path: Path) -> None:
    path = str(write_wav(tmp_path / "a.wav", tone(4.0)))
    spans = ((None, None, 4.0), (1.5, None, 2.5), (1.0, 3.0, 2.0), (None, None, None))
    given = [Utterance(str(n), path, "x", start_s=a, end_s=b, duration_s=c) for n, (a, b, c) in enumerate(spans)]
    write_kaldi(tmp_path / "out", given)
    times = [line.split()[2:] for line in (tmp_path / "out" / "segments").read_text().splitlines()]
    assert times == [["0.000", "4.000"], ["1.500", "4.000"], ["1.000", "3.000"], ["0.000", "-1.000"]]


def test_what_is_written_is_sorted_has_speakers_in_its_ids_and_is_read_again(tmp_path: Path) -> None:
    path = str(write_wav(tmp_path / "a b.wav", tone(4.0)))
    given = [
        Utterance("z", path, "two  words", "English", "ben", start_s=1.0, end_s=2.0),
        Utterance("a", path, "", None, "anna lee", start_s=2.5, end_s=3.0, channel=0),
        Utterance("own", path, "whole"),
    ]
    write_kaldi(tmp_path / "out", given)
    assert (tmp_path / "out" / "text").read_text() == "anna_lee-a\nben-z two words\nown whole\n"
    assert (tmp_path / "out" / "spk2utt").read_text() == "anna_lee anna_lee-a\nben ben-z\nown own\n"
    assert (tmp_path / "out" / "segments").read_text().splitlines()[1] == "ben-z a_b 1.000 2.000"
    read = load(tmp_path / "out")
    assert [(one.id, one.text, one.start_s, one.end_s, one.channel) for one in read] == [
        ("anna_lee-a", "", 2.5, 3.0, 0),
        ("ben-z", "two words", 1.0, 2.0, None),
        ("own", "whole", 0.0, None, None),
    ]
    assert {one.audio for one in read} == {path}


def test_ids_that_would_be_one_in_kaldi_are_told_apart(tmp_path: Path) -> None:
    path = str(write_wav(tmp_path / "a.wav", tone(1.0)))
    given = [Utterance("anna-1", path, "x", None, "anna"), Utterance("1", path, "y", None, "anna")]
    write_kaldi(tmp_path / "out", given)
    assert [(one.id, one.text) for one in load(tmp_path / "out")] == [("anna-1", "x"), ("anna-1-2", "y")]


def test_what_has_no_text_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="utterance 'a' has no file or no text"):
        write_kaldi(tmp_path / "out", [Utterance("a", "a.wav")])


def test_lhotse_itself_reads_what_is_written_and_what_it_writes_is_read(tmp_path: Path) -> None:
    pytest.importorskip("lhotse", reason="lhotse is not installed; nothing of ours needs it")
    from lhotse import kaldi

    path = str(write_wav(tmp_path / "a.wav", tone(4.0)))
    given = [
        Utterance("u0", path, "one two", "English", "anna", start_s=0.5, end_s=1.5, duration_s=1.0),
        Utterance("u1", path, "three", "English", "ben", start_s=2.0, duration_s=2.0),
    ]
    write_kaldi(tmp_path / "ours", given)
    recordings, supervisions, _ = kaldi.load_kaldi_data_dir(tmp_path / "ours", 16_000)
    assert [(one.id, one.start, one.duration, one.text) for one in supervisions] == [
        ("anna-u0", 0.5, 1.0, "one two"),
        ("ben-u1", 2.0, 2.0, "three"),
    ]
    kaldi.export_to_kaldi(recordings, supervisions, tmp_path / "theirs")
    assert [(one.text, one.speaker, one.start_s, one.end_s, one.audio) for one in load(tmp_path / "theirs")] == [
        ("one two", "anna", 0.5, 1.5, path),
        ("three", "ben", 2.0, 4.0, path),
    ]
