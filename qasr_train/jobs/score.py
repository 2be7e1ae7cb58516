"""Owns the job of `recipes/score.py`: predictions that lie there already, ours or the leaderboard's, are scored again.

Input: ScoreConfig. Output in out: scores.json, utterances.jsonl, report.md, report.html, for a whole leaderboard run also
leaderboard.csv; a table on stdout; by further rules the same in out/NAME, and rules.json. Needs no model and no GPU.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from qasr_train.errors import DataError
from qasr_train.evaluation.columns.values import By
from qasr_train.evaluation.comparing.rules import RulesChange, compare_rules
from qasr_train.evaluation.report.content import write_report
from qasr_train.evaluation.report.rules import RULES_FILE, rules_content, rules_summary
from qasr_train.evaluation.report.tables import score_summary
from qasr_train.evaluation.scoring.metrics import Resampling
from qasr_train.evaluation.scoring.run_files import write_scores
from qasr_train.evaluation.scoring.score import ScoredRun, score_predictions
from qasr_train.evaluation.submission.write import write_submission
from qasr_train.evaluation.words.calibrated import with_words
from qasr_train.files import parse_json, write_json
from qasr_train.jobs.settings.score import ScoreConfig
from qasr_train.sources.columns import read_columns
from qasr_train.sources.settings import SourceConfig
from qasr_train.text.alternatives.lexicon import read_spellings
from qasr_train.text.normalize import get_normalizer
from qasr_train.text.terms import read_terms
from qasr_train.transcription.predictions import Prediction, load_predictions


def score(config: ScoreConfig) -> None:
    """Score, write the report, print the table.

    Raises:
        UserError: predictions or term list cannot be read; the directory cannot be written.
    """
    run = score_saved(config)
    changes = [compare_rules(run, _score_also_by(config, name)) for name in config.also_by]
    write_submission(config.out, run)
    _write_rules(Path(config.out) / RULES_FILE, changes)
    write_report(config.out, run, config=config.report, by_rules=changes)
    print("\n\n".join([score_summary(run, config.out), *rules_summary(changes)]))


def _write_rules(path: Path, changes: list[RulesChange]) -> None:
    """Write the file; remove an older one where nothing is to be told."""
    path.unlink(missing_ok=True)
    if changes:
        write_json(path, rules_content(changes))


def _score_also_by(config: ScoreConfig, normalizer: str) -> ScoredRun:
    """The same predictions by other rules, with a report of their own in OUT/NORMALIZER."""
    out = str(Path(config.out) / normalizer)
    run = score_saved(replace(config, normalizer=normalizer, also_by=[], out=out))
    write_submission(out, run)
    write_report(out, run, config=config.report)
    return run


def score_saved(config: ScoreConfig) -> ScoredRun:
    """Read the predictions, score them, write OUT/scores.json and utterances.jsonl; raises as `score`."""
    terms = read_terms(config.terms) if config.terms else None
    by = By(config.by, config.bins)
    loaded = load_predictions(config.predictions, language=config.language, system=config.system, columns=by.carried)
    warnings = _take_columns(loaded.predictions, config.manifest, by) if config.manifest else []
    run = score_predictions(
        loaded.predictions,
        get_normalizer(config.normalizer),
        failed_as_empty=config.failed_as_empty,
        resampling=Resampling(config.confidence, config.resample_by),
        num_workers=config.num_workers or len(os.sched_getaffinity(0)),
        terms=terms,
        lexicon=read_spellings(config.spellings) if config.spellings else None,
        mixed=config.mixed,
    )
    provenance = _provenance(Path(config.predictions), loaded.system)
    warnings = [*loaded.warnings, *warnings, *run.warnings]
    run = with_words(
        replace(run, provenance=provenance, warnings=warnings, path=config.out, by=by, traits=config.style),
        config.words,
    )
    write_scores(config.out, run)
    return run


def _take_columns(predictions: Sequence[Prediction], manifest: str, by: By) -> list[str]:
    """Give predictions the columns of a manifest's rows of their ids; a warning where some have none."""
    ids = {prediction.id for prediction in predictions}
    columns, missing = read_columns(SourceConfig(path=manifest), by.carried, ids, "manifest", key="manifest")
    if not columns:
        raise DataError(
            f"manifest={manifest}: no prediction has the id of one of its rows; give the one they were made of"
        )
    if missing:
        raise DataError(
            f"by=[{missing[0]}]: no row of {manifest} with the id of a prediction has that column; correct by= or manifest="
        )
    for prediction in predictions:
        prediction.columns = prediction.columns | columns.get(prediction.id, {})
    num_without = sum(prediction.id not in columns for prediction in predictions)
    return [f"{num_without} of {len(predictions)} predictions have no row in {manifest}"] if num_without else []


def _provenance(predictions: Path, system: str | None) -> dict[str, Any]:
    """What the run beside the predictions says of itself (run.json), if there is one."""
    provenance: dict[str, Any] = {"predictions": str(predictions)}
    if system:
        provenance["system"] = system
    run = (predictions if predictions.is_dir() else predictions.parent) / "run.json"
    if run.is_file():
        try:
            provenance["run"] = parse_json(run.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"{run}: is not JSON ({error}); move it away or write it again") from None
    return provenance
