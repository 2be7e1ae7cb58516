"""A corpus in the layouts of other tools, split by split."""

from pathlib import Path

from qasr_train.manifest import Utterance
from qasr_train.sources.corpora.written import Layout, write_layouts
from qasr_train.sources.settings import SourceConfig
from qasr_train.sources.source import load_utterances
from tests.helpers import tone, write_wav


def test_each_split_has_its_own_and_all_are_read_again(tmp_path: Path) -> None:
    given = [
        Utterance(name, str(write_wav(tmp_path / name / "x.wav", tone(1.0))), f"text {name}", split=split)
        for name, split in (("a", "train"), ("b", "train"), ("c", None))
    ]
    written = write_layouts(tmp_path / "out", given, list(Layout))
    assert [str(path.relative_to(tmp_path / "out")) for path in written] == [
        "kaldi/train",
        "lhotse/cuts_train.jsonl.gz",
        "kaldi/all",
        "lhotse/cuts_all.jsonl.gz",
    ]
    for path in written[:2]:
        read = load_utterances(SourceConfig(path=str(path)), "s")
        assert [(one.id, one.text, one.audio) for one in read] == [(one.id, one.text, one.audio) for one in given[:2]]
    whole = load_utterances(SourceConfig(path=str(tmp_path / "out" / "kaldi")), "s", is_one_split=False)
    assert {(one.id, one.split) for one in whole} == {("a", "train"), ("b", "train"), ("c", "all")}
