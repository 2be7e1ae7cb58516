"""Owns the files of `.eval_results/` in a model repository: where they lie, and how entries become one.

Input: huggingface_hub's `EvalResultEntry`s. Output: the text of a file. Imports nothing heavy: scoring needs it too.
"""

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

EVAL_RESULTS = ".eval_results"  # where the Hub looks for figures of its benchmarks
LEADERBOARD_RESULTS = "open_asr_leaderboard.yaml"  # there: what evaluate.py and score.py write of a whole English run


def entries_text(entries: list[EvalResultEntry]) -> str:
    """A file of `.eval_results/`."""
    rows = eval_result_entries_to_yaml(entries)
    return yaml.safe_dump(rows, sort_keys=False, allow_unicode=True, width=120)
