"""Owns the job of `recipes/plant_errors.py`: a test set to hand out, in which some words are wrong, and the right texts to keep.

Input: PlantErrorsConfig. Output in `out`: manifest.jsonl with the planted errors, corrected.jsonl with what was said.
"""

from pathlib import Path

from qasr_train.errors import DataError
from qasr_train.evaluation.honesty.wrong_references import corrected_rows, plant_errors
from qasr_train.jobs.settings.honesty import PlantErrorsConfig
from qasr_train.manifest import findable_from_anywhere, write_manifest
from qasr_train.sources.source import load_table
from qasr_train.text.normalize import get_normalizer

MANIFEST, CORRECTED = "manifest.jsonl", "corrected.jsonl"


def run(config: PlantErrorsConfig) -> None:
    """Plant, write both, say how many.

    Raises:
        DataError: `out` holds such files already; no row can hold a planted word; the source cannot be read.
    """
    out = Path(config.out).expanduser()
    taken = [name for name in (MANIFEST, CORRECTED) if (out / name).exists()]
    if taken:
        raise DataError(f"out={config.out}: holds {taken[0]} already; choose another folder")
    rows = [
        findable_from_anywhere(one) for one in load_table(config.source, "planted", is_one_split=False, key="source")
    ]
    planted = plant_errors(rows, config.fraction, config.seed, get_normalizer(config.normalizer))
    if not planted:
        raise DataError(
            f"source.path={config.source.path}: in none of its {len(rows)} rows a word can be planted; they need four words or "
            "more, of a language written with spaces, and words that differ"
        )
    write_manifest(out / MANIFEST, corrected_rows(rows, planted))
    write_manifest(out / CORRECTED, rows)
    print(f"{out / MANIFEST}: {len(rows)} rows to hand out, {len(planted)} of them with a planted word")
    print(f"{out / CORRECTED}: what was said; keep it, and give it as corrected of recipes/honesty.py")
