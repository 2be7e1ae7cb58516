"""Owns what a submission says of a model's training data: from the records of the run that made the evaluated checkpoint.

Input: a `ScoredRun`. Output: one sentence. A source is named where it is a dataset of the Hub; others are only
counted.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from qasr_train.evaluation.scoring.score import ScoredRun

if TYPE_CHECKING:
    from qasr_train.models.exporting.origin import Origin


def training_disclosure(run: ScoredRun) -> str | None:
    """What the evaluated model was fine-tuned on; None where no record here tells (a model of the Hub, a foreign system)."""
    model = run.record.get("config", {}).get("model")
    path = model.get("path") if isinstance(model, dict) else None
    if not path or not Path(str(path)).expanduser().is_dir():
        return None
    from qasr_train.models.exporting.origin import find_origin  # brings transformers

    origin = find_origin(str(path), Path(str(path)).expanduser(), None)
    return _sentence(origin) if origin.sources else None


def _sentence(origin: "Origin") -> str:
    num_private = sum(not origin.source_record(name).get("dataset") for name in origin.sources)
    named = list(origin.datasets)
    if num_private:
        named.append(
            f"{num_private} {'source that is' if num_private == 1 else 'sources that are'} no dataset of the Hub"
        )
    base = f"{origin.base_name} fine-tuned" if origin.base_name else "fine-tuned"
    hours = ", ".join(f"{language} {number:.2f} h" for language, number in origin.hours.items())
    return f"{base} on {' and '.join(named)}" + (f" ({hours})" if hours else "")
