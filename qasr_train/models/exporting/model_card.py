"""Owns the model card of an export: where the model comes from, what it was trained on, its scores, how to load it, licence.

Input: the export's settings, the run that made the checkpoint, scores. Output: README.md. It names no file, speaker or
sentence of the training data, so that it can be published with the weights.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qasr_train.files import parse_json
from qasr_train.models.exporting.family import CardText
from qasr_train.models.settings import ExportLayout

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_MAX_GENERATIONS = 10  # runs that started from runs, followed back to a published model


@dataclass
class Origin:
    """Where a checkpoint comes from.

    base: hub id or bundled name of the model training started from, None where it is not known.
    run: the record of the fine-tune (run.json), {} where there is none. state: the checkpoint's train state, or {}.
    """

    base: str | None
    run: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def sources(self) -> dict[str, dict[str, Any]]:
        """Settings of the training sources, by the names the user gave them."""
        return self.run.get("config", {}).get("data", {}).get("train") or {}

    @property
    def new_languages(self) -> list[str]:
        """Languages the run added to the model's own, in order."""
        names = [name for source in self.sources.values() for name in source.get("new_languages") or []]
        return list(dict.fromkeys(names))


def find_origin(checkpoint: str, folder: Path, base: str | None) -> Origin:
    """The run that made a checkpoint, and the published model at the beginning of it all.

    Args:
        checkpoint: as the user gave it. folder: where it lies. base: what its adapter names, or None.
    """
    run = _run_of(folder)
    reference = base or (_model_path(run) if run else checkpoint)
    return Origin(base=_published_base(reference), run=run, state=_read(folder / "state" / "train_state.json"))


def model_card(
    family: CardText,
    *,
    layout: ExportLayout,
    dtype: str,
    strength: float,
    num_averaged: int,
    origin: Origin,
    scores: Sequence[tuple[str, dict[str, Any]]],
) -> str:
    """The text of README.md.

    Args:
        family: its words. layout: one of those it has. dtype: of the weights.
        strength: factor on what training changed. num_averaged: checkpoints it is the mean of.
        scores: (name of the run folder, content of its scores.json) of each evaluation to show.
    """
    parts = [
        _front_matter(family, layout, origin),
        f"# {family.title}, {'fine-tuned' if origin.run else 'exported'} with qasr_train",
        _description(family, layout, origin, dtype) + _changed(strength, num_averaged),
        _training(family, origin),
        _score_tables(scores),
        "## Use\n\n" + family.layouts[layout].usage,
        _licence(family, origin),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(family: CardText, layout: ExportLayout, origin: Origin) -> str:
    lines = [
        "pipeline_tag: automatic-speech-recognition",
        f"library_name: {'peft' if layout is ExportLayout.adapter else 'transformers'}",
    ]
    if licence := family.licence_of(origin.base):
        lines += [f"base_model: {origin.base}", f"license: {licence}"]
    return "\n".join(["---", *lines, "---"])


def _description(family: CardText, layout: ExportLayout, origin: Origin, dtype: str) -> str:
    base = origin.base or f"a local {family.title} checkpoint"
    what = family.layouts[layout].what
    return f"Speech recognition model made from {base}. This folder holds {what}; weights in {dtype}."


def _changed(strength: float, num_averaged: int) -> str:
    """What an export is besides what was trained, after a space; nothing where it is just that."""
    changed = [f"The weights are the mean of {num_averaged} checkpoints"] if num_averaged > 1 else []
    if strength != 1.0:
        changed.append(f"What training changed counts {strength:g} times as much as it was trained with")
    if not changed:
        return ""
    return f" {'; '.join(changed)}: figures measured on the run's own checkpoints are not this model's."


def _training(family: CardText, origin: Origin) -> str:
    if not origin.run:
        return ""
    config, state = origin.run.get("config", {}), origin.state
    lines = ["## Training", ""]
    if state:
        lines.append(
            f"- {state.get('step', 0):,} steps over {state.get('audio_s', 0) / 3600:.2f} hours of audio in "
            f"{state.get('num_utterances', 0):,} utterances, each pass counted"
        )
    for name, source in origin.sources.items():
        language = source.get("language") or "as its rows say"
        lines.append(f"- source `{name}`: passes an epoch {source.get('passes_per_epoch', 1.0):g}, language {language}")
    lines.append(f"- trained weights: {_adaptation(config.get('adapt') or {})}")
    lines += family.training(config.get("model") or {})
    lines.append(f"- peak learning rate {(config.get('optim') or {}).get('lr')}, seed {config.get('seed')}")
    git, versions = origin.run.get("git") or {}, origin.run.get("versions") or {}
    commit = f" at commit {git['commit'][:12]}{' with local changes' if git.get('is_dirty') else ''}" if git else ""
    libraries = ", ".join(f"{name} {versions[name]}" for name in ("torch", "transformers", "peft") if name in versions)
    lines.append(f"- qasr_train{commit}; {libraries}")
    return "\n".join(lines)


def _adaptation(adapt: dict[str, Any]) -> str:
    parts = []
    if adapt.get("trainable"):
        frozen = f", except {', '.join(adapt['frozen'])}" if adapt.get("frozen") else ""
        parts.append(f"{', '.join(adapt['trainable'])}{frozen}")
    if lora := adapt.get("lora"):
        where = ", ".join(part for part in ("encoder", "projector", "decoder") if lora.get(part))
        kind = "DoRA" if lora.get("use_dora") else "rsLoRA" if lora.get("use_rslora") else "LoRA"
        parts.append(f"{kind} of rank {lora.get('rank')}, alpha {lora.get('alpha'):g}, in {where}")
    return "; ".join(parts) or "not recorded"


def _score_tables(scores: Sequence[tuple[str, dict[str, Any]]]) -> str:
    if not scores:
        return ""
    lines = [
        "## Scores",
        "",
        "| run | set | utterances | WER % | CER % | two-sided interval | normalizer |",
        "|---|---|---:|---:|---:|---|---|",
    ]
    for run, content in scores:
        for name, group in content["sets"].items():
            interval = group.get("cer_interval" if group.get("primary_metric") == "cer" else "interval")
            cells = [run, name, f"{group.get('num_utterances', 0):,}"]
            cells += [_number(group.get("wer_percent")), _number(group.get("cer_percent"))]
            cells += [_interval(interval), content["normalizer"]]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    lines += [
        "",
        "Pooled over each set; the interval is of CER where a language is written without spaces, else of WER.",
    ]
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _interval(interval: dict[str, Any] | None) -> str:
    return f"{interval['low_percent']:.2f} to {interval['high_percent']:.2f}" if interval else "–"


def _licence(family: CardText, origin: Origin) -> str:
    is_published = origin.base is None or family.licence_of(origin.base) is not None
    published = family.licence if is_published else f"The licence of {origin.base} applies."
    return (
        f"## Licence\n\n{published} Whether a fine-tuned model may be passed on also depends on the recordings it learned from: "
        "check their terms, and the consent of the speakers, before you publish it."
    )


def _published_base(reference: str | None) -> str | None:
    """The hub id or bundled name a chain of runs began with; None if it ends at a local folder nobody knows."""
    for _ in range(_MAX_GENERATIONS):
        if reference is None:
            return None
        folder = Path(reference).expanduser()
        if not folder.is_dir():
            is_public = reference.startswith("bundled:") or _HUB_ID.fullmatch(reference)
            return reference if is_public else None
        run = _run_of(folder)
        reference = _model_path(run) if run else None
    return None


def _run_of(folder: Path) -> dict[str, Any]:
    """The run.json of the fine-tune a checkpoint or its adapter belongs to; {} where there is none."""
    run = run_folder(folder)
    return _read(run / "run.json") if run else {}


def run_folder(folder: Path) -> Path | None:
    """The directory of the fine-tune a checkpoint or its adapter lies in; None outside of a run."""
    folder = folder.resolve()
    parents = (folder, *list(folder.parents)[:3])  # run/checkpoints/step_000100/adapter
    return next((one for one in parents if _read(one / "run.json").get("recipe") == "finetune"), None)


def started_from(folder: Path) -> str | None:
    """The model that the run around a checkpoint began with, as its config names it; None outside of a run."""
    return _model_path(_run_of(folder))


def _model_path(run: dict[str, Any]) -> str | None:
    return run.get("config", {}).get("model", {}).get("path")


def _read(file: Path) -> dict[str, Any]:
    try:
        content = parse_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # the card says less; the export itself does not depend on it
    return content if isinstance(content, dict) else {}
