"""The experiments that learn from hypotheses, end to end on a random model: what they ask for is what the run does."""

import json
from pathlib import Path
from typing import Any

import pytest

from qasr_train.errors import ConfigError
from qasr_train.jobs.recipes import load_config
from qasr_train.models.settings import Capability
from qasr_train.objectives.rollout_settings import MWERConfig
from qasr_train.objectives.table import check_objective
from qasr_train.training.checkpoint import checkpoint_path
from tests.config.test_experiments import run

# Of 12 clips an epoch in batches of 6, so that the third step is drawn by what the first two have heard.
HEARS = [
    "data.sample_by_error.first_epoch=true",
    "data.sample_by_error.sources=[target]",
    "data.sample_by_error.max_percent=[]",
]
OWN = {
    "polish": [*HEARS, "objective.drawn_by=beam"],
    "terms": ["objective.reward_rules.terms=TERMS"],
    "silence": ["augment.silence.max_duration_s=1"],
}
REWARDS = {
    "polish": {"error_count"},
    "terms": {"gated_errors", "term_recall", "term_precision"},
    "silence": {"gated_errors", "invented_words", "repetition"},
}


def settings(experiment: str, manifests: dict[str, Path], folder: Path) -> list[str]:
    (folder / "terms.txt").write_text("small pills\nfox\n")
    own = [one.replace("TERMS", str(folder / "terms.txt")) for one in OWN[experiment]]
    return [f"data.train.target.path={manifests['target']}", "optim.lr=1e-2", *own]


@pytest.mark.parametrize("experiment", list(OWN))
def test_each_runs_and_one_goes_on_exactly_where_it_stopped(
    experiment: str, model_dir: Path, manifests: dict[str, Path], tmp_path: Path
) -> None:
    own = [*settings(experiment, manifests, tmp_path), "trainer.validate_every=1", "trainer.keep_last=9"]
    run(experiment, model_dir, manifests, tmp_path / "run", *own)
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    names = set().union(*rows)
    assert {f"train/reward/{name}" for name in REWARDS[experiment]} <= names
    assert {"train/taught_nothing_fraction", "train/reward_spread", "train/rollout_fraction"} <= names
    assert any(name.startswith("dev/target/deletion") for name in names)  # the guard measures
    if experiment != "polish":
        return
    last, straight = checkpoint_path(tmp_path / "run", 3), tmp_path / "straight"
    last.rename(straight)
    trainer = run(experiment, model_dir, manifests, tmp_path / "run", *own, "resume=true")
    assert (last / "model.safetensors").read_bytes() == (straight / "model.safetensors").read_bytes()
    draws = {name: pool.draws for name, pool in trainer.data.pools.items()}
    assert draws["replay"] is None and (draws["target"].begins, len(draws["target"].percents)) == (1, 8)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["objective=mwer", "objective.num_hypotheses=1"], "one hypothesis is no better or worse than itself"),
        (["objective=gspo", "adapt.lora=null"], "objective=gspo: adapt trains nothing"),
        (["objective=mwer", "trainer.find_batch_seconds=true"], "tries batches of transcripts"),
        (
            ["objective=mwer", "objective.rewards.term_recall=1"],
            "objective.rewards.term_recall has no terms to look for",
        ),
        (["objective=mwer", "objective.rewards.wer=1"], "objective.rewards.wer: no such reward"),
        (["objective=mwer", "objective.rewards.error_count=0"], "gives no reward a weight"),
        (
            ["model=whisper_base", "objective=gspo", "objective.rewards.language=1"],
            "is told the language before it speaks",
        ),
        (["objective=gspo", "objective.kl_weight=0.1", "objective.kl_sources=[replay]"], "'replay' matches no source"),
        (
            ["objective=mwer", "objective.drawn_by=beam", "objective.temperature=0.7"],
            "objective.temperature=0.7: says how far samples stray",
        ),
        (
            ["objective=gspo", "objective.drawn_by=beam", "objective.count_repeats=true"],
            "objective.count_repeats=true counts draws",
        ),
        (
            ["objective=cross_entropy", "data.sample_by_error.first_epoch=true", "trainer.max_steps=9"],
            "objective=cross_entropy lets it say nothing",
        ),
        (
            ["objective=mwer", "data.sample_by_error.first_epoch=true", "trainer.max_steps=null"],
            "how many steps the later epochs have is known after the first alone",
        ),
        (["objective=mwer", "objective.temperature=0"], "objective.temperature=0.0: expected more than 0"),
    ],
)
def test_contradictions_are_refused_when_the_config_is_loaded(given: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config("finetune", [*given, f"run_dir={tmp_path}", "data.train.target.path=x.jsonl"])


def test_deepspeed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(
        ConfigError, match="objective=gspo: hypotheses were never drawn from weights that DeepSpeed holds"
    ):
        load_config("finetune", ["objective=gspo", "run_dir=x", "data.train.target.path=x.jsonl"])


def test_a_family_that_draws_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="objective=mwer needs samples, which model.family=toy does not have"):
        check_objective(MWERConfig(), family="toy", capabilities=frozenset({Capability.TOKEN_LOSS}))


def test_grpo_is_a_setting_of_gspo() -> None:
    found: Any = load_config("finetune", ["objective=grpo", "data.train.target.path=x.jsonl", "run_dir=x"]).objective
    assert (found.name, found.level.value, found.clip_low) == ("gspo", "token", 0.2)
