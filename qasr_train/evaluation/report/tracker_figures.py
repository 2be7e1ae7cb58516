"""Owns what of an evaluation goes to a tracker: figures per set and language; the worst utterances only where that is allowed.

Input: a `ScoredRun`, a started `Tracker`. Output: figures named `test/...` and, for wandb, tables.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from qasr_train.errors import AudioError
from qasr_train.evaluation.report.clips import LoadClip
from qasr_train.evaluation.scoring.metrics import GroupScore, tracked_figures
from qasr_train.evaluation.scoring.score import ScoredRun
from qasr_train.evaluation.scoring.utterance import UtteranceScore
from qasr_train.run.settings import Backend, TrackingConfig
from qasr_train.run.tracking import Tracker, tracker_names

MAX_UTTERANCES = 100  # the worst ones, where texts or recordings may go out


def make_tracker(config: TrackingConfig, run_dir: Path, device: torch.device) -> Tracker | None:
    """A tracker for an evaluation, not started; None where tracking is off. Every process calls it."""
    if config.backend is Backend.none:
        return None
    accelerator = Accelerator(
        cpu=device.type == "cpu", log_with=tracker_names(config) or None, project_dir=str(run_dir)
    )
    return Tracker(config, accelerator, run_dir)


def track_scores(tracker: Tracker, run: ScoredRun, load_clip: LoadClip, worst: Sequence[UtteranceScore]) -> None:
    """Hand over figures per set, language and over all; with `allow_text` or `allow_audio` also utterances.

    Args:
        load_clip: the samples of an utterance. worst: utterances, those to look at first at the beginning.
    """
    tracker.send(figures(run), step=0)
    for name, groups in (("sets", run.sets), ("languages", run.languages)):
        names = [figure.name for figure in tracked_figures()]
        rows = [[key, *(group[figure] for figure in names), *_interval(group)] for key, group in groups.items()]
        columns = [name.removesuffix("s"), *names, "primary_metric", "interval_low_percent", "interval_high_percent"]
        tracker.send_table(f"test/{name}", columns, rows, step=0)
    worst = worst[:MAX_UTTERANCES]
    if tracker.config.allow_text:
        columns = ["set", "language", "word_errors", "reference_words", "id", "reference", "hypothesis"]
        rows = [
            [
                one.set,
                one.language,
                row.counts.num_errors,
                row.counts.num_reference_words,
                one.id,
                one.text,
                one.pred_text,
            ]
            for row, one in ((row, row.prediction) for row in worst)
        ]
        tracker.send_table("test/utterances", columns, rows, step=0)
    if tracker.config.allow_audio and tracker.config.backend is Backend.wandb:
        tracker.send_clips("test/recordings", list(_clips(worst, load_clip, tracker.config.allow_text)), step=0)


def figures(run: ScoredRun) -> dict[str, float | None]:
    """All figures by name; None where there is nothing to divide by."""
    found: dict[str, float | None] = {
        "test/micro_wer_percent": run.overall["wer_percent"],
        "test/macro_wer_percent": run.macro_wer_percent,
        "test/macro_primary_percent": run.macro_primary_percent,
        "test/rtfx": run.overall["rtfx"],
    }
    found |= dict(_group_figures("set", run.sets))
    found |= dict(_group_figures("language", run.languages))
    if run.entities is not None:
        terms = run.entities.overall
        found |= {
            f"test/terms/{name}": getattr(terms, name) for name in ("recall_percent", "precision_percent", "f1_percent")
        }
    if run.context is not None:
        context = run.context.overall
        found |= {f"test/{name}": getattr(context, name) for name in ("context_recall_percent", "context_echo_percent")}
    return found


def _group_figures(kind: str, groups: Mapping[str, GroupScore]) -> Iterator[tuple[str, float | None]]:
    for name, group in groups.items():
        for figure in tracked_figures():
            yield f"test/{kind}/{name}/{figure.name}", group[figure.name]


def _interval(group: GroupScore) -> list[Any]:
    interval = group.primary_interval
    ends = [interval.low_percent, interval.high_percent] if interval else [None, None]
    return [group.primary_metric, *ends]


def _clips(rows: Sequence[UtteranceScore], load_clip: LoadClip, has_text: bool) -> Iterator[tuple[str, np.ndarray]]:
    """(caption, samples) of the rows that can be read; the caption names an utterance only where text may go out."""
    for number, one in enumerate(row.prediction for row in rows):
        try:
            yield one.id if has_text else f"{one.set} {number}", load_clip(one)
        except AudioError:
            continue  # what cannot be read is in the scores as failed
