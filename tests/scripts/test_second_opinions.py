"""The table of second opinions: what this installation has, on a handful of predictions."""

import random

from qasr_train.transcription.predictions import Prediction, write_predictions
from scripts.bench.second_opinions import main, widened


def test_a_scorer_that_is_there_says_what_we_say_and_the_others_have_a_dash(tmp_path, monkeypatch, capsys):
    pairs = [("The cat sat.", "the hat sat"), ("It's fine", "it is fine then"), ("", "noise")]
    rows = [Prediction(None, None, None, *pair, id=str(n), set="s", language="English") for n, pair in enumerate(pairs)]
    write_predictions(tmp_path / "run" / "predictions.jsonl", rows)
    monkeypatch.setattr("sys.argv", ["second_opinions.py", str(tmp_path / "run" / "predictions.jsonl")])
    monkeypatch.setenv("PATH", str(tmp_path))  # no sclite
    main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| errors / words | rows | ours | jiwer | sclite | meeteval | voi-oiwer | medwer |"
    assert lines[2].startswith("| run: WER | 2 | 2 / 6 | 2 / 6 | – |")
    assert lines[3].startswith("| run: several right words | 2 | ") and len(lines) >= 5


def test_a_widened_reference_still_begins_with_what_was_written():
    slots = widened("a b c d e f", "a x c d f g", 2, random.Random(1))
    assert [slot[0] for slot in slots] == list("abcdef") and any(len(slot) > 1 for slot in slots)
