"""The learning curve, run whole on a random two-layer model: draws within draws, nothing done twice, what is refused."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qasr_train.augment.settings import ContextConfig
from qasr_train.errors import ConfigError, InterruptedRunError
from qasr_train.evaluation.learning.amounts import Amount
from qasr_train.evaluation.learning.verdict import Answer
from qasr_train.jobs import learning_curve as job
from qasr_train.jobs.learning_curve import choose_amounts, learning_curve
from qasr_train.jobs.recipes import load_config
from qasr_train.jobs.settings.finetune import FinetuneConfig
from qasr_train.jobs.settings.learning_curve import LearningCurveConfig
from qasr_train.models.qwen3_asr.layouts import save_native
from qasr_train.run.settings import Precision
from qasr_train.sources.source import load_table
from tests.helpers import tone, write_wav
from tests.helpers_model import tiny_model, tiny_processor


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model; six clips of three speakers to train on, and two to test."""
    folder = tmp_path_factory.mktemp("inputs")
    save_native(tiny_model(), tiny_processor(), folder / "model")
    with open(folder / "m.jsonl", "w") as out:
        for number in range(8):
            write_wav(folder / f"{number}.wav", tone(0.5, frequency_hz=200 + 50 * number))
            row = {"id": f"u{number}", "audio": f"{number}.wav", "text": "two small pills", "language": "English"}
            row |= {
                "device": "phone" if number % 2 else "desk",
                "speaker": f"s{number % 3}",
                "split": "train" if number < 6 else "test",
            }
            out.write(json.dumps(row) + "\n")
    return folder


@pytest.fixture(scope="module")
def config(inputs: Path) -> LearningCurveConfig:
    """Of one step and three tokens, as the command line makes it."""
    given = [
        f"model.path={inputs / 'model'}",
        f"data.train.main.path={inputs / 'm.jsonl'}",
        "data.num_workers=0",
        "trainer.device=cpu",
        "trainer.max_steps=1",
        "suite=own",
        f"suite.manifest={inputs / 'm.jsonl'}",
        "suite.sets.own.source.split=test",
        "decode.max_new_tokens=3",
        "num_taught_clips=5",
        "by=[device]",
        "style=[punctuation]",
        "decode.check_batch_invariance=0",
        "decode.num_warmup_batches=0",
        "out=x",
    ]
    loaded: LearningCurveConfig = load_config("learning_curve", given)
    return loaded


def with_source(config: LearningCurveConfig, **changed: Any) -> LearningCurveConfig:
    train = config.data.train
    return replace(config, data=replace(config.data, train={**train, "main": replace(train["main"], **changed)}))


def test_a_curve_is_drawn_once_and_goes_on_with_more_amounts(
    config: LearningCurveConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = replace(config, run_dir=str(tmp_path / "curve"), include_all=False)
    trained: list[tuple[str, bool]] = []

    def finetune(config: FinetuneConfig) -> None:
        trained.append((Path(config.run_dir).name, config.resume))
        if trained[-1] == ("training_4", False):
            raise InterruptedRunError("interrupted after step 0")
        whole_finetune(config)

    whole_finetune = job.finetune
    monkeypatch.setattr(job, "finetune", finetune)
    run_dir = Path(config.run_dir)
    with pytest.raises(
        InterruptedRunError, match="^interrupted while training on 4 clips; .* resume=true out=.*curve$"
    ):
        learning_curve(replace(config, amounts=[4, 2]))
    assert not (run_dir / "curve.json").exists()
    stamps = {n: (run_dir / f"evaluation_{n}" / "scores.json").stat().st_mtime_ns for n in (0, 2)}

    # Killed after the last step of an amount, before that was written down: its own resume ends it at once.
    record = json.loads((run_dir / "training_2" / "run.json").read_text())
    assert record["model"]["path"] and len(record["model"]["weights"]) == 16
    assert record["sources"]["main"]["dataset"] is None and list(record["sources"]["main"]["hours"]) == ["English"]
    del record["trained_on"]
    (run_dir / "training_2" / "run.json").write_text(json.dumps(record))
    trained.clear()
    curve = learning_curve(replace(config, amounts=[2, 9], resume=True))
    assert trained == [("training_2", True), ("training_6", False)]
    assert "amounts: data.train.main holds 6 clips, so 9 is all of them" in capsys.readouterr().out
    assert {n: (run_dir / f"evaluation_{n}" / "scores.json").stat().st_mtime_ns for n in (0, 2)} == stamps

    assert [point.amount.num_clips for point in curve.points] == [0, 2, 6]
    everything = curve.points[-1].amount
    assert (everything.num_speakers, everything.num_steps, everything.hours) == (3, 1, round(6 * 0.5 / 3600, 4))
    assert everything.checkpoint is not None and Path(everything.checkpoint, "checkpoint.json").is_file()
    saved = json.loads((run_dir / "curve.json").read_text())
    for point, row in zip(curve.points, saved["points"], strict=True):
        scores = json.loads((run_dir / f"evaluation_{point.amount.num_clips}" / "scores.json").read_text())
        assert row["roles"]["all sets"]["percent"] == scores["overall"]["primary_percent"]
    assert saved["growth"][0]["few"] == 2 and saved["growth"][0]["sentence"] == curve.sentences()[0]
    assert saved["verdict"]["answer"] in [one.value for one in Answer] and curve.sentences()[-1].startswith("verdict: ")
    taught = {n: json.loads((run_dir / f"taught_{n}" / "scores.json").read_text())["overall"] for n in (2, 6)}
    assert {n: one["num_utterances"] for n, one in taught.items()} == {2: 2, 6: 5}
    assert saved["points"][2]["trained_on"]["percent"] == taught[6]["primary_percent"]
    assert saved["points"][0]["trained_on"] is None
    page = (run_dir / "curve.html").read_text()
    assert page.count("<svg") == 1
    reports = re.findall(r'<a href="([^"]+)"', page)
    assert reports == [f"evaluation_{n}/report.html" for n in (0, 2, 6)]
    for report in reports:
        assert {"By device", "Style"} <= set(re.findall(r"<h2[^>]*>([^<]+)", (run_dir / report).read_text()))
    rows = [json.loads((run_dir / f"training_{n}" / "run.json").read_text())["rows"]["train.main"] for n in (2, 6)]
    assert [row["num_taken"] for row in rows] == [2, 6]

    fewer = with_source(replace(config, resume=True), only={"id": "u[0-4]"})
    monkeypatch.setattr(
        job, "check_same_config", lambda *_, **__: None
    )  # as if the manifest had changed, not a setting
    with pytest.raises(
        ConfigError, match=r"^resume: the clips of data.train.main are not those .* \(6 of main -> 5 of main"
    ):
        learning_curve(fewer)


def test_each_amount_lies_within_the_next_and_replay_stays_whole(config: LearningCurveConfig) -> None:
    replay = config.data.train["main"]
    config = replace(config, data=replace(config.data, train={"replay": replay, **config.data.train}), seed=7)
    assert config.cut == "main"
    drawn = []
    for number in (2, 4, 6):
        training = config.training(number, "r", resume=False)
        drawn.append({row.id for row in load_table(training.data.train["main"], "main", is_trained_on=True)})
        assert training.data.train["replay"] == replay
        assert type(training) is FinetuneConfig and training.trainer == config.trainer
    assert [len(ids) for ids in drawn] == [2, 4, 6] and drawn[0] < drawn[1] < drawn[2]
    assert replace(config, cut_source="replay").cut == "replay"


def test_seeds_draw_anew_and_longer_is_a_run_beside_the_usual(
    config: LearningCurveConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: dict[str, FinetuneConfig] = {}
    run_dir = tmp_path / "curve"

    def trained_amount(one: job.Training) -> Amount:
        folder = one.folder("training")
        trained[folder.name] = one.config.training(one.num_clips, str(folder), resume=False, longer=one.longer)
        return Amount(one.num_clips, checkpoint=config.model.path)

    monkeypatch.setattr(job, "_trained", trained_amount)
    config = replace(config, run_dir=str(run_dir), amounts=[2], include_base=False, include_all=False)
    learning_curve(replace(config, seeds=[0, 3], longer=2.0, num_taught_clips=0))
    assert list(trained) == ["training_2", "training_2_seed3", "training_2_longer2"]
    drawn = [
        (one.seed, one.data.train["main"].sample_seed, one.trainer.max_steps, one.trainer.num_epochs)
        for one in trained.values()
    ]
    assert drawn == [(0, 0, 1, 3.0), (3, 3, 1, 3.0), (0, 0, 2, 6.0)]
    assert not list(run_dir.glob("taught_*"))
    [point] = json.loads((run_dir / "curve.json").read_text())["points"]
    assert len(point["roles"]["all sets"]["by_seed"]) == 2 and point["trained_on"] is None


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ({}, [0, 15, 60, 100]),
        ({"include_all": False, "include_base": False}, [15, 60, 100]),
        ({"amounts": [20, 10, 20], "include_all": False}, [0, 10, 20]),
        ({"amounts": [100, 200, 300], "include_base": False}, [100]),
    ],
)
def test_amounts_beyond_all_clips_are_one(
    config: LearningCurveConfig, given: dict[str, Any], chosen: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    config = replace(config, **given)
    assert choose_amounts(config, 100) == chosen
    assert ("note:" in capsys.readouterr().out) == (max(config.amounts) > 100)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"amounts": []}, r"amounts=\[\]: name at least one number of clips"),
        ({"amounts": [0]}, r"amounts\[0\]=0: expected at least 1"),
        ({"seeds": [1, 2, 1]}, r"seeds=\[1, 2, 1\]: a seed stands twice"),
        ({"longer": 1.0}, "longer=1.0: expected more than 1"),
        ({"cut_source": "mian"}, "cut_source=mian: no such source in data.train; choose from main"),
        ({"precision": Precision.fp16}, "precision=fp16"),
    ],
)
def test_a_mistake_is_a_sentence(config: LearningCurveConfig, given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        replace(config, **given)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"max_utterances": 3}, "data.train.main.max_utterances=3: `amounts` and `seed` say what is taken"),
        ({"sample_seed": 0}, "data.train.main.sample_seed=0: `amounts` and `seed`"),
        ({"streaming": True}, "data.train.main.streaming=true: amounts are drawn of a list"),
    ],
)
def test_what_the_amounts_decide_is_not_said_of_the_source_too(
    config: LearningCurveConfig, given: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        with_source(config, **given)


def test_several_processes_are_refused_before_anything_is_written(
    config: LearningCurveConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="^WORLD_SIZE=2: learning_curve .*; run it as one process"):
        learning_curve(replace(config, run_dir=str(tmp_path / "x")))
    assert not (tmp_path / "x").exists()


def test_rules_that_a_resumed_curve_began_with_stay(config: LearningCurveConfig, tmp_path: Path) -> None:
    config = replace(config, run_dir=str(tmp_path), resume=True)
    began = {"normalizer": "qasr-1", "suite": {"normalizer": "qasr-1"}}
    (tmp_path / "run.json").write_text(json.dumps({"config": began}))
    same = config.as_begun()
    assert (same.normalizer, same.suite.normalizer) == ("qasr-1", "qasr-1")
    own = replace(config, normalizer="none").as_begun()  # the user's own words, which say nothing of the suite
    assert (own.normalizer, own.suite.normalizer) == ("none", "qasr-2")


def test_a_resumed_curve_goes_on_with_the_prompts_it_began_with(config: LearningCurveConfig, tmp_path: Path) -> None:
    config = replace(config, run_dir=str(tmp_path), resume=True, context=ContextConfig(served=0.5))
    (tmp_path / "run.json").write_text(json.dumps({"config": {"context": {"own": 1.0}}}))
    assert config.as_begun().context.served == 0.0  # it began before there was such a share
    assert config.as_begun().training(3, str(tmp_path / "3"), resume=False).context.served == 0.0
    (tmp_path / "run.json").write_text(json.dumps({"config": {"context": {"own": 1.0, "served": 0.2}}}))
    assert config.as_begun().context.served == 0.5  # another share is refused later, by its name
    assert replace(config, resume=False).as_begun().context.served == 0.5
