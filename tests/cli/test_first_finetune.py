"""docs/first_finetune.ipynb runs from a folder of recordings to a report and an export, with the bundled model."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import ROOT, tone, write_wav

TEXTS = ["two small pills", "the quick brown fox", "takes a day", "a fox"]
FEW_STEPS = 'TRAINING = ["adapt=lora", "trainer.num_epochs=1"]'


@pytest.mark.slow
def test_every_cell_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    with open(write_wav(tmp_path / "recordings" / "0.wav", tone(0.5)).parent / "metadata.csv", "w") as file:
        rows = csv.writer(file)
        rows.writerow(["file_name", "text", "speaker"])
        for number in range(24):
            write_wav(
                tmp_path / "recordings" / f"{number}.wav", tone(0.5 + 0.05 * number, frequency_hz=150 + 9 * number)
            )
            rows.writerow([f"{number}.wav", f"{TEXTS[number % 4]} {number}", f"speaker {number % 8}"])
    notebook = json.loads((ROOT / "docs" / "first_finetune.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(
        not cell["outputs"] and cell["execution_count"] is None for cell in cells
    )  # nobody's transcripts stand in it
    namespace: dict[str, Any] = {}
    for number, cell in enumerate(cells):
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), namespace)
        if "parameters" in cell["metadata"].get("tags", []):
            exec(FEW_STEPS, namespace)
    splits = namespace["Counter"](row["split"] for row in namespace["rows"])
    assert splits.total() == 24 and all(splits[name] for name in ("train", "dev", "test"))
    made = tmp_path / "runs" / "first_finetune"
    assert "<html" in (made / "compared" / "report.html").read_text(encoding="utf-8")
    assert (made / "loss.png").stat().st_size > 1000 and (made / "exported" / "model.safetensors").exists()
    assert namespace["after"].rows[0].prediction.id == namespace["before"].rows[0].prediction.id
    assert "said    " in capsys.readouterr().out
