"""Dev sets are read whole, within the limits, and thinned evenly; what is in sources of training is told in lines."""

import json
from pathlib import Path

import pytest

from qasr_train.data.mixture import ListPool
from qasr_train.data.opening import (
    check_sources,
    describe_pools,
    open_dev_sets,
    open_training_sources,
    record_rows,
    record_sources,
)
from qasr_train.data.settings import DataConfig, TooLong
from qasr_train.errors import ConfigError, DataError
from qasr_train.manifest import Utterance
from qasr_train.models.qwen3_asr.collator import Qwen3ASRCollator
from qasr_train.run.processes import ALONE
from qasr_train.sources.intake import Intake
from qasr_train.sources.settings import SourceConfig
from tests.helpers import utterance, write_wav
from tests.helpers_model import tiny_processor


def manifest(folder: Path, number: int) -> dict[str, SourceConfig]:
    """A dev source of so many rows, r0 ... of 1 s each; only r0 has a file."""
    write_wav(folder / "r0.wav")
    rows = [{"id": f"r{i}", "audio": f"r{i}.wav", "text": "x", "duration_s": 1.0} for i in range(number)]
    (folder / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"main": SourceConfig(path=str(folder / "dev.jsonl"))}


def opened(config: DataConfig, max_utterances: int | None = None) -> tuple[list[Utterance], list[str]]:
    """The dev set called main, and what was said."""
    said: list[str] = []
    collator = Qwen3ASRCollator(tiny_processor())
    sets = open_dev_sets(config, collator, model_max_duration_s=1200.0, max_utterances=max_utterances, say=said.append)
    return sets["main"], said


@pytest.mark.parametrize(
    ("max_utterances", "expected"),
    [
        (None, list(range(10))),
        (10, list(range(10))),
        (200, list(range(10))),
        (4, [0, 2, 5, 7]),
        (7, [0, 1, 2, 4, 5, 7, 8]),
        (1, [0]),
    ],
)
def test_a_large_set_is_thinned_evenly(tmp_path: Path, max_utterances: int | None, expected: list[int]):
    chosen = opened(DataConfig(dev=manifest(tmp_path, 10)), max_utterances)[0]
    assert [u.id for u in chosen] == [f"r{i}" for i in expected]


def test_thinning_gives_the_number_asked_for(tmp_path: Path):
    """9 to 7 and 18 to 14 lost one by rounding once."""
    for number, wanted in ((9, 7), (18, 14), (23, 15)):
        chosen = opened(DataConfig(dev=manifest(tmp_path, number)), wanted)[0]
        assert len({u.id for u in chosen}) == wanted


def test_the_limits_hold_for_dev_sets_and_are_counted(tmp_path: Path):
    source = manifest(tmp_path, 3)
    rows = (
        (tmp_path / "dev.jsonl")
        .read_text()
        .replace(
            '"r1", "audio": "r1.wav", "text": "x", "duration_s": 1.0',
            '"r1", "audio": "r1.wav", "text": "x", "duration_s": 99',
        )
    )
    (tmp_path / "dev.jsonl").write_text(rows)
    kept, said = opened(DataConfig(dev=source, too_long=TooLong.drop))
    assert [u.id for u in kept] == ["r0", "r2"]
    assert said == ["data.dev: dropped 1 utterances: longer than 30 s"]


def test_a_streamed_dev_set_is_refused():
    source = {"far": SourceConfig(path="owner/name", streaming=True)}
    with pytest.raises(ConfigError, match=r"data.dev.far.streaming=true: a dev set is read whole; set streaming=false"):
        opened(DataConfig(dev=source))


def test_a_dev_set_that_is_not_there_is_told_before_anything_is_loaded(tmp_path: Path):
    train = manifest(tmp_path, 1)
    check_sources(DataConfig(train=train, dev=train))
    with pytest.raises(DataError, match=r"gone.jsonl: no such file; check the path of the source"):
        check_sources(DataConfig(train=train, dev={"far": SourceConfig(path=str(tmp_path / "gone.jsonl"))}))


def test_lines_on_sources_tell_shares_and_styles_that_differ():
    written = [utterance(id=f"w{i}", text="Yes, he said so.", duration_s=3600.0) for i in range(60)]
    heard = [utterance(id=f"h{i}", text="yes he said so", duration_s=3600.0) for i in range(20)]
    pools = {"a": ListPool("a", written, 1.0, (0, 0)), "b": ListPool("b", heard, 1.0, (0, 1))}
    *lines, case, marks = describe_pools(pools)
    assert lines == [
        "source a: 60 utterances, 60.00 h, 1 passes an epoch",
        "source b: 20 utterances, 20.00 h, 1 passes an epoch",
        "an epoch holds 80.00 h: a 60.00 h (75.0 %), b 20.00 h (25.0 %)",
    ]
    assert case.startswith("note: sets differ in letter case (a: cased, b: lower)")
    assert marks.startswith("note: sets differ in punctuation")


def with_splits(folder: Path) -> dict[str, SourceConfig]:
    """Three rows of train and two of test."""
    source = manifest(folder, 5)
    write_wav(folder / "r1.wav")
    rows = [json.loads(line) for line in (folder / "dev.jsonl").read_text().splitlines()]
    rows = [row | {"split": "test" if i in (1, 4) else "train"} for i, row in enumerate(rows)]
    (folder / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return source


def test_what_became_of_the_rows_stands_in_the_run_s_record(tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text('{"version": 1}')
    sources = open_training_sources(DataConfig(train=with_splits(tmp_path)), processes=ALONE, seed=0)
    record_rows(tmp_path / "run", sources.intakes)
    noted: dict[str, Intake] = {}
    open_dev_sets(
        DataConfig(dev={"main": SourceConfig(path=str(tmp_path / "dev.jsonl"), split="test")}),
        Qwen3ASRCollator(tiny_processor()),
        model_max_duration_s=1200.0,
        max_utterances=None,
        say=lambda line: None,
        note=noted.__setitem__,
    )
    record_rows(tmp_path / "run", noted)
    assert json.loads((tmp_path / "run" / "run.json").read_text()) == {
        "version": 1,
        "rows": {
            "train.main": {"num_rows": 5, "num_taken": 3, "left_out": {"of split test": 2}},
            "dev.main": {"num_rows": 5, "num_taken": 2, "left_out": {"of split train": 3}},
        },
    }


def test_the_record_names_hub_datasets_and_hours_by_language_and_no_path(tmp_path: Path):
    (tmp_path / "run.json").write_text('{"version": 1}')
    rows = [
        *(utterance(id=f"e{i}", duration_s=1800.0, language="English") for i in range(3)),
        utterance(id="f", duration_s=900.0, language="French"),
        utterance(id="?", duration_s=360.0, language=None),
    ]
    pools = {
        "own/English": ListPool("own/English", rows[:3], 0.5, (0, 0)),
        "own/rest": ListPool("own/rest", rows[3:], 4.0, (0, 1)),
        "talks": ListPool("talks", rows[3:4], 1.0, (0, 2)),
    }
    configs = {
        "own": SourceConfig(path=str(tmp_path / "clinic.jsonl")),
        "talks": SourceConfig(path="owner/talks"),
    }
    record_sources(tmp_path, configs, pools)
    assert json.loads((tmp_path / "run.json").read_text())["sources"] == {
        "own": {"dataset": None, "hours": {"English": 1.5, "French": 0.25, "unknown": 0.1}},
        "talks": {"dataset": "owner/talks", "hours": {"French": 0.25}},
    }


def test_a_run_begun_before_rows_were_set_aside_goes_on_with_all_of_them(tmp_path: Path, caplog):
    config = DataConfig(train=with_splits(tmp_path))

    def ids(record: str) -> list[str]:
        (tmp_path / "run.json").write_text(record)
        sources = open_training_sources(config, processes=ALONE, seed=0, resumed=tmp_path)
        return [utterance.id for utterance in sources.opened["main"]]

    assert ids('{"rows": {}}') == ["r0", "r2", "r3"]
    caplog.clear()
    assert ids("{}") == ["r0", "r1", "r2", "r3", "r4"]  # an older run.json counts no rows
    assert "source main: all its splits are used; it holds train (3), test (2)" in caplog.text
