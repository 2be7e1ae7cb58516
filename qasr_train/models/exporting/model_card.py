"""Owns the model card of an export: where the model comes from, what it was trained on, its results, how to load it, licence.

Input: what the family says of itself, the origin of the checkpoint, results, what the user states. Output: README.md and
`.eval_results/`. It names no file, speaker or sentence of the training data, so that it can be published with the weights;
what is not known stays blank.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData

from qasr_train.files import write_whole
from qasr_train.models.exporting.eval_results import EVAL_RESULTS, LEADERBOARD_RESULTS, entries_text
from qasr_train.models.exporting.family import CardText
from qasr_train.models.exporting.origin import Origin
from qasr_train.models.exporting.results import (
    Results,
    SetChange,
    eval_results,
    leaderboard_results,
    model_index,
)
from qasr_train.models.settings import ExportLayout
from qasr_train.text.languages import iso_code

CARD_FILE = "README.md"
# as the Hub calls what loads it
_LIBRARIES = {ExportLayout.adapter: "peft", ExportLayout.ctranslate2: "ctranslate2", ExportLayout.gguf: "gguf"}


@dataclass(frozen=True)
class Statements:
    """What the user says of an export for its card.

    licence: an identifier as the Hub has them; None: that of the published base, where it is known.
    results: folders of evaluations and comparisons. benchmarks: set -> OWNER/NAME/TASK of the benchmark on the Hub that it is.
    repo_id: where it is to lie on the Hub; None: not said.
    """

    licence: str | None = None
    results: Sequence[str] = ()
    benchmarks: Mapping[str, str] = field(default_factory=dict)
    repo_id: str | None = None


NOTHING_STATED = Statements()


@dataclass(frozen=True)
class Described:
    """What a card describes. layout: one of the family's. dtype: of the weights. strength: factor on what training changed.
    num_averaged: checkpoints it is the mean of."""

    layout: ExportLayout
    dtype: str
    strength: float
    num_averaged: int
    origin: Origin
    results: Results


def card_files(family: CardText, described: Described, stated: Statements, name: str) -> dict[str, str]:
    """Path in the export -> text: README.md, and `.eval_results/` where the user named benchmarks.

    Args:
        family: its words. name: what the model is called in its results, where `stated` has no repo_id.

    Raises:
        ConfigError: a benchmark is named for a set that has no result.
    """
    files = {CARD_FILE: _card(family, described, stated, name)}
    for file, entries in eval_results(described.results, stated.benchmarks).items():
        files[f"{EVAL_RESULTS}/{file}"] = entries_text(entries)
    submission = leaderboard_results(described.results)
    return files if submission is None else files | {f"{EVAL_RESULTS}/{LEADERBOARD_RESULTS}": submission}


def write_card(folder: Path, files: Mapping[str, str]) -> None:
    """Write what `card_files` gave into an export; OSError where the disk is full or the folder not to be written."""
    for path, text in files.items():
        (folder / path).parent.mkdir(exist_ok=True)
        write_whole(folder / path, text)


def _card(family: CardText, described: Described, stated: Statements, name: str) -> str:
    origin, results = described.origin, described.results
    licence = stated.licence or family.licence_of(origin.base_name)
    parts = [
        f"---\n{_metadata(described, stated, licence, name)}\n---",
        f"# {family.title}, {'fine-tuned' if origin.run else 'exported'} with qasr_train",
        _description(family, described) + _changed(described.strength, described.num_averaged),
        _facts(origin, licence),
        _training(family, origin),
        _results(results),
        _comparisons(results),
        _usage(family, described, stated),
        _intended_use(origin),
        _limits(origin, results),
        _licence(family, origin),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _metadata(described: Described, stated: Statements, licence: str | None, name: str) -> str:
    """What the Hub reads: YAML without what is not known."""
    origin = described.origin
    is_adapter = described.layout is ExportLayout.adapter
    figures = model_index(described.results, stated.benchmarks)
    data = ModelCardData(
        pipeline_tag="automatic-speech-recognition",
        library_name=_LIBRARIES.get(described.layout, "transformers"),
        base_model=origin.base_hub_id,
        license=licence,
        language=[code for code in map(iso_code, origin.languages) if code] or None,
        datasets=origin.datasets or None,
        metrics=sorted({one.metric_type for one in figures}) or None,
        eval_results=figures or None,
        model_name=(stated.repo_id or name) if figures else None,
    )
    if origin.base_hub_id and (origin.run or is_adapter):
        data["base_model_relation"] = "adapter" if is_adapter else "finetune"
    return data.to_yaml(line_break="\n")


def _description(family: CardText, described: Described) -> str:
    base = described.origin.base_name or f"a local {family.title} checkpoint"
    what = family.layouts[described.layout].what
    return f"Speech recognition model made from {base}. This folder holds {what}; weights in {described.dtype}."


def _changed(strength: float, num_averaged: int) -> str:
    """What an export is besides what was trained, after a space; nothing where it is just that."""
    changed = [f"The weights are the mean of {num_averaged} checkpoints"] if num_averaged > 1 else []
    if strength != 1.0:
        changed.append(f"What training changed counts {strength:g} times as much as it was trained with")
    if not changed:
        return ""
    return f" {'; '.join(changed)}: figures measured on the run's own checkpoints are not this model's."


def _facts(origin: Origin, licence: str | None) -> str:
    rows = [
        ("Base model", origin.base_name),
        ("Its commit", origin.base.commit if origin.base else None),
        ("Licence", licence),
        ("Languages trained on", ", ".join(origin.languages)),
        ("Hours by language, as declared", _hours(origin.hours)),
        ("Datasets of the Hub", ", ".join(origin.datasets)),
    ]
    lines = ["| | |", "|---|---|", *(f"| {what} | {_cell(value or '')} |" for what, value in rows)]
    return "\n".join([*lines, "", "What is blank is not known to the program that wrote this card."])


def _hours(hours: Mapping[str, float]) -> str:
    texts = {language: f"{number:.2f}" if number >= 0.1 else f"{number:.2g}" for language, number in hours.items()}
    return ", ".join(f"{language} {text} h" for language, text in texts.items())


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
    lines += [_source(name, source, origin.source_record(name)) for name, source in origin.sources.items()]
    lines.append(f"- trained weights: {_adaptation(config.get('adapt') or {})}")
    lines += family.training(config.get("model") or {})
    lines += _settings(config)
    git, versions = origin.run.get("git") or {}, origin.run.get("versions") or {}
    commit = f" at commit {git['commit'][:12]}{' with local changes' if git.get('is_dirty') else ''}" if git else ""
    libraries = ", ".join(f"{name} {versions[name]}" for name in ("torch", "transformers", "peft") if name in versions)
    lines.append(f"- qasr_train{commit}; {libraries}")
    return "\n".join(lines)


def _source(name: str, source: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """One source by the name the user gave it; where it lies is said of datasets of the Hub alone."""
    line = f"- source `{name}`: passes an epoch {source.get('passes_per_epoch', 1.0):g}"
    line += f", language {source.get('language') or 'as its rows say'}"
    if dataset := record.get("dataset"):
        parts = [str(source[key]) for key in ("subset", "split", "revision") if source.get(key)]
        line += f", dataset {dataset}" + (f" ({', '.join(parts)})" if parts else "")
    return line + (f"; a pass is {_hours(record['hours'])}" if record.get("hours") else "")


def _settings(config: Mapping[str, Any]) -> list[str]:
    """Lines on how it was trained: numbers, choices and switches alone, of what the record holds."""
    optim, trainer, data = (config.get(name) or {} for name in ("optim", "trainer", "data"))
    told = [
        *_named(config.get("objective") or {}, {"name": "objective"}),
        *_named(optim, {"name": "optimizer", "schedule": "schedule", "warmup_fraction": "warm-up fraction"}),
        *_named(optim, {"weight_decay": "weight decay"}),
        *_named(data, {"batch_seconds": "seconds of audio a batch"}),
        *_named(trainer, {"num_microbatches": "microbatches a step", "max_grad_norm": "gradient norm at most"}),
        *_named(trainer, {"num_epochs": "epochs at most", "max_steps": "steps at most", "precision": "precision"}),
    ]
    lines = [f"- peak learning rate {optim.get('lr')}, seed {config.get('seed')}"]
    if told:
        lines.append(f"- {', '.join(told)}")
    changes = [f"{name} {share:g}" for name, share in _shares(config.get("augment") or {})]
    if changes:
        lines.append(f"- clips changed from epoch to epoch, by share: {', '.join(changes)}")
    return lines


def _named(section: Mapping[str, Any], words: Mapping[str, str]) -> list[str]:
    return [f"{word} {section[key]}" for key, word in words.items() if section.get(key) is not None]


def _shares(augment: Mapping[str, Any]) -> Iterable[tuple[str, float]]:
    for name, section in augment.items():
        share = (section.get("probability") or section.get("share")) if isinstance(section, dict) else None
        if share:
            yield name, share


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


def _results(results: Results) -> str:
    if not results.evaluations:
        return ""
    lines = [
        "## Results",
        "",
        "| run | set | utterances | WER % | CER % | two-sided interval | normalizer |",
        "|---|---|---:|---:|---:|---|---|",
    ]
    for run in results.evaluations:
        for one in run.sets:
            cells = [run.name, one.name, f"{one.num_utterances:,}", _number(one.wer_percent), _number(one.cer_percent)]
            lines.append(_row([*cells, _interval(one.interval), run.normalizer]))
    precisions = sorted({run.precision for run in results.evaluations if run.precision})
    computed = f" Computed in {' and '.join(precisions)}." if precisions else ""
    lines += [
        "",
        "Pooled over each set; the interval is of CER where a language is written without spaces, else of WER."
        + computed,
    ]
    return "\n".join(lines)


def _comparisons(results: Results) -> str:
    parts = []
    for comparison in results.comparisons:
        baseline = f"`{comparison.baseline}`" if comparison.baseline else "a baseline"
        lines = [
            f"## Compared with {baseline}",
            "",
            f"On the same utterances, by {comparison.normalizer}; the gate's verdict: **{comparison.verdict}**. A target should "
            "improve, a guard must not get worse.",
            "",
            "| set | role | utterances | before % | after % | difference, two-sided interval | finding |",
            "|---|---|---:|---:|---:|---|---|",
            *(_row(_change(one)) for one in comparison.sets),
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _change(one: SetChange) -> list[str]:
    difference = one.after_percent - one.before_percent
    found = f"{difference:+.2f} {one.metric.upper()} points"
    if one.interval:
        low, high, confidence = one.interval
        found += f", {confidence * 100:g} %: {low:+.2f} to {high:+.2f}"
    figures = [f"{one.num_utterances:,}", f"{one.before_percent:.2f}", f"{one.after_percent:.2f}"]
    return [one.name, one.role or "", *figures, found, one.sentence]


def _usage(family: CardText, described: Described, stated: Statements) -> str:
    """The family's words, with the names one has to put in where they are known."""
    text = family.layouts[described.layout].usage
    if stated.repo_id:
        text = text.replace("THIS_FOLDER", stated.repo_id)
    if described.origin.base_hub_id:
        text = text.replace("BASE_MODEL", described.origin.base_hub_id)
    return f"## Use\n\n{text}"


def _intended_use(origin: Origin) -> str:
    languages = f" in {', '.join(origin.languages)}" if origin.languages else ""
    return f"## Intended use\n\nTranscription of recorded speech{languages}. What else its makers mean it for:"


def _limits(origin: Origin, results: Results) -> str:
    guards = ", ".join(one.name for one in results.guards)
    lines = [
        "It can write words that nobody said, above all where there is noise, silence or music instead of speech.",
        "How error rates differ among speakers (accent, age, gender, voice) is not stated here.",
    ]
    if origin.run:
        lines.append(
            f"What it kept of the abilities of its base is measured on the guard sets above ({guards}), nowhere else."
            if guards
            else "Whether it lost abilities of its base, other languages or other kinds of recordings, is not stated here."
        )
    if not results:
        lines.append("No results are stated.")
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in [*lines, "Other limits:"])


def _licence(family: CardText, origin: Origin) -> str:
    base = origin.base_name
    is_published = base is None or family.licence_of(base) is not None
    published = family.licence if is_published else f"The licence of {base} applies."
    return (
        f"## Licence\n\n{published} Whether a fine-tuned model may be passed on also depends on the recordings it learned from: "
        "check their terms, and the consent of the speakers, before you publish it."
    )


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(_cell, cells)) + " |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _interval(interval: tuple[float, float, float] | None) -> str:
    if interval is None:
        return "–"
    low, high, confidence = interval
    return f"{low:.2f} to {high:.2f} ({confidence * 100:g} %)"
