"""What a notebook calls: the page that shows it runs, and mistakes are told as the recipes tell them."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import qasr_train
from qasr_train.errors import UserError
from tests.helpers import ROOT, tone, write_wav

TEXTS = ["two small pills", "the quick brown fox", "takes a day", "a fox"]


def test_every_block_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows: list[dict[str, Any]] = []
    for number, text in enumerate(TEXTS):
        path = write_wav(Path("clips") / f"{number}.wav", tone(0.5 + 0.2 * number))
        rows.append({"id": f"c{number}", "audio": str(path), "text": text, "language": "English"})
    for name in ("train", "dev"):
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) == page.count("```python") == 5
    namespace: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), namespace)
    tuned = namespace["tuned"]
    assert tuned.checkpoint.parent == tmp_path / "runs" / "first" / "checkpoints"
    assert max(row["step"] for row in tuned.metrics) == 2
    assert namespace["after"].rows[0].prediction.id == "c0"
    stored = json.loads((tmp_path / "compared" / "comparison.json").read_text())
    assert stored["overall"]["num_utterances"] == namespace["comparison"].overall.num_utterances == 4


def test_importing_the_package_imports_nothing_heavy_and_scoring_no_torch() -> None:
    script = (
        "import sys, qasr_train; light = set(sys.modules)\n"
        "mine = {'qasr_train.cli.notebook', 'qasr_train.cli.error_rates'}\n"
        "assert 'wer' in dir(qasr_train) and not light & {'numpy', 'hydra', 'torch', *mine}\n"
        "assert qasr_train.wer(['a b'], ['a'], normalizer='none').num_errors == 1\n"
        "assert not set(sys.modules) & {'torch', 'transformers', 'datasets', 'matplotlib', 'wandb'}"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_rate_is_pooled_and_normalised() -> None:
    rate = qasr_train.wer(["Ein Haus, ein Boot", "ja"], ["ein haus ein boot", "nein"], language="de")
    assert (rate.percent, rate.num_errors, rate.num_reference, rate.num_utterances) == (20.0, 1, 5, 2)
    assert rate.interval is not None and rate.interval.low_percent <= 20.0 <= rate.interval.high_percent
    silent = qasr_train.wer([""], ["noise"], normalizer="none")
    assert (silent.percent, silent.num_errors, silent.num_reference) == (None, 1, 0)


@pytest.mark.parametrize(
    ("references", "hypotheses", "more", "told"),
    [
        (["a"], ["a", "b"], {}, "1 references and 2 hypotheses; give one of each per utterance"),
        ([], [], {}, "there are no predictions to score"),
        ("a b", ["a"], {}, "'a b' is one text; give a list, even of one"),
        (["a"], ["a"], {"language": "Klingon"}, "unknown language 'Klingon'"),
        (["a"], ["a"], {"normalizer": "qasr"}, "normalizer=qasr: unknown"),
    ],
)
def test_what_cannot_be_scored(references: Any, hypotheses: Any, more: dict[str, str], told: str) -> None:
    with pytest.raises(UserError, match=re.escape(told)):
        qasr_train.cer(references, hypotheses, **more)


def test_a_setting_that_is_wrong_is_told_as_the_recipe_tells_it() -> None:
    with pytest.raises(UserError, match=re.escape("unknown key trainer.max_step; did you mean trainer.max_steps?")):
        qasr_train.finetune(trainer={"max_step": 3}, run_dir="x")
    with pytest.raises(UserError, match="model=tny: no such model"):
        qasr_train.load_model("tny")
    with pytest.raises(AttributeError, match="no attribute 'wre'"):
        _ = qasr_train.wre


def test_a_recipe_that_is_not_there_is_told() -> None:
    with pytest.raises(UserError, match=re.escape("recipe('prepair'): no such recipe; choose from ")):
        qasr_train.recipe("prepair")
