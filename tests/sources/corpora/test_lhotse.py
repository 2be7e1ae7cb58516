"""lhotse's cuts, read and written without lhotse."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from qasr_train.errors import DataError
from qasr_train.manifest import Utterance
from qasr_train.sources.corpora.lhotse import write_cuts
from qasr_train.sources.settings import SourceConfig
from qasr_train.sources.source import load_utterances
from qasr_train.timed.base import TimedWord
from tests.helpers import tone, write_wav


def cut(audio: Path | str, **fields: Any) -> dict[str, Any]:
    """A cut from 1 s on, 2 s long, with a supervision that begins before it and one inside it."""
    said = {"recording_id": "rec", "channel": 0, "language": "English", "speaker": "anna"}
    return {
        "id": "c",
        "start": 1.0,
        "duration": 2.0,
        "channel": 0,
        "supervisions": [
            {"id": "s0", "start": -0.5, "duration": 1.0, "text": "one", **said},
            {"id": "s1", "start": 0.75, "duration": 1.0, "text": "two", **said},
        ],
        "recording": {"id": "rec", "sources": [{"type": "file", "channels": [0], "source": str(audio)}]},
        "type": "MonoCut",
        **fields,
    }


def load(path: Path) -> list[Utterance]:
    return load_utterances(SourceConfig(path=str(path)), "s")


def write(path: Path, *cuts: dict[str, Any]) -> Path:
    text = "".join(json.dumps(one) + "\n" for one in cuts)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", ["cuts.jsonl", "cuts.jsonl.gz"])
def test_each_supervision_is_an_utterance_with_its_part_of_the_cut(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    audio = write_wav(tmp_path / "rec.wav", tone(4.0))
    first, second = load(write(tmp_path / name, cut(audio)))
    assert f"{name}: 1 supervisions reach beyond their cuts" in caplog.text
    assert (first.id, first.text, first.start_s, first.end_s) == ("c-0", "one", 1.0, 1.5)
    assert (second.id, second.start_s, second.end_s, second.speaker) == ("c-1", 1.75, 2.75, "anna")
    assert (first.audio, first.language, first.channel) == (str(audio), "English", None)


def test_the_channel_counts_where_there_are_several(tmp_path: Path) -> None:
    recording = {"id": "rec", "sources": [{"type": "file", "channels": [0, 1], "source": "rec.wav"}]}
    write_wav(tmp_path / "rec.wav", tone(4.0))
    said = {"id": "s", "start": 0.0, "duration": 1.0, "text": "x", "channel": 1}
    [one] = load(write(tmp_path / "c.jsonl", cut("", recording=recording, supervisions=[said])))
    assert (one.id, one.channel) == ("c", 1)


def test_words_of_an_alignment_have_times_of_the_recording(tmp_path: Path) -> None:
    audio = write_wav(tmp_path / "rec.wav", tone(4.0))
    items = [["hi", 1.25, 0.5, None], {"symbol": "you", "start": 1.75, "duration": 0.25}]
    said = {"id": "s", "start": 0.25, "duration": 0.75, "text": "hi you", "alignment": {"word": items}}
    [one] = load(write(tmp_path / "c.jsonl", cut(audio, supervisions=[said])))
    assert one.words == (TimedWord("hi", 1.25, 1.75), TimedWord("you", 1.75, 2.0))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"recording": None}, r"c\.jsonl:1: cut 'c' holds features and no recording"),
        ({"type": "MixedCut"}, "is a MixedCut; expected cuts of one recording each"),
        (
            {"recording": {"sources": [{"type": "command", "source": "x"}]}},
            "has sources of the kind command; expected one file",
        ),
        (
            {"recording": {"sources": [{"type": "file", "source": "x"}], "transforms": [{"name": "Speed"}]}},
            r"changes its recording \(Speed\)",
        ),
        ({"supervisions": [{"start": 0}]}, "lacks or has a broken 'duration'"),
    ],
)
def test_what_only_lhotse_could_make_of_it_is_refused(fields: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=sentence):
        load(write(tmp_path / "c.jsonl", cut("x.wav", **fields)))


def test_another_gzipped_manifest_is_to_be_unpacked(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"m\.jsonl\.gz: is compressed; unpack it"):
        load(write(tmp_path / "m.jsonl.gz", {"id": "a", "audio": "a.wav", "text": "x"}))


WORDS = (TimedWord("one", 0.75, 1.0, 0.5),)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    pair = tone(3.0)
    path = str(write_wav(tmp_path / "rec.wav", pair))
    write_cuts(
        tmp_path / "out" / "cuts.jsonl.gz",
        [
            Utterance("a", path, "one", "English", "anna", start_s=0.5, end_s=1.25, words=WORDS),
            Utterance("b", path, "two"),
        ],
    )
    return tmp_path / "out" / "cuts.jsonl.gz"


def test_what_is_written_is_read_again(written: Path) -> None:
    first, second = load(written)
    assert (first.id, first.text, first.language, first.speaker) == ("a", "one", "English", "anna")
    assert (first.start_s, first.end_s, first.words) == (0.5, 1.25, WORDS)
    assert (second.start_s, second.end_s, second.speaker) == (0.0, 3.0, None)


def test_lhotse_itself_reads_what_is_written(written: Path) -> None:
    lhotse = pytest.importorskip("lhotse", reason="lhotse is not installed; nothing of ours needs it")
    cuts = list(lhotse.CutSet.from_file(written))
    assert [(one.id, one.start, one.duration, one.supervisions[0].text) for one in cuts] == [
        ("a", 0.5, 0.75, "one"),
        ("b", 0.0, 3.0, "two"),
    ]
    assert cuts[0].supervisions[0].alignment["word"][0].end == 1.0
    assert cuts[0].load_audio().shape == (1, 12_000)
