"""Owns the job of `recipes/pseudo_label.py`: recordings without transcripts + a model -> a manifest of those it heard well.

Input: PseudoLabelConfig. Output in run_dir: predictions.jsonl, manifest.jsonl (rows say `"label": "pseudo"` and their
`confidence`), rejects.jsonl with a reason each, summary.json. Transcribing goes on where it was killed; filtering costs nothing.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qasr_train.audio.arrow import is_arrow_reference
from qasr_train.errors import ConfigError, DataError
from qasr_train.evaluation.scoring.alignment import error_counter, score_utterances
from qasr_train.evaluation.scoring.rates import primary_error_percent
from qasr_train.evaluation.scoring.run_files import write_result
from qasr_train.files import write_rows
from qasr_train.jobs.settings.pseudo_label import PseudoLabelConfig
from qasr_train.manifest import Utterance, utterance_to_row
from qasr_train.models.families import find_family
from qasr_train.models.settings import Capability, Engine
from qasr_train.run.device import join_machine
from qasr_train.run.directory import recorded_normalizer
from qasr_train.sources.source import load_table
from qasr_train.text.languages import resolve_language
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import PREDICTIONS, Prediction, load_predictions
from qasr_train.transcription.run import TranscriptionRun
from qasr_train.transcription.sets import UtteranceSet
from qasr_train.transcription.settings import AUTO, REFERENCE, DecodeConfig

MANIFEST, REJECTS, SUMMARY = "manifest.jsonl", "rejects.jsonl", "summary.json"
SET_NAME = "unlabelled"
PSEUDO = "pseudo"  # what a row's `label` says
SUMMARY_VERSION = 1
SHOWN_CONFIDENCES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
# What may differ when a run is resumed, besides what changes no transcript: they are filtered again.
FILTER_KEYS = (
    "min_confidence",
    "keep_no_speech",
    "min_characters_per_s",
    "max_characters_per_s",
    "agree_with",
    "max_disagreement_percent",
    "normalizer",
)


@dataclass(frozen=True, slots=True)
class Label:
    """One recording with what was heard in it. rejected: the kind of reason it is not in the manifest for; None: it is.

    reason: the same with its numbers.
    """

    utterance: Utterance
    prediction: Prediction
    rejected: str | None = None
    reason: str | None = None

    @property
    def duration_s(self) -> float:
        """Seconds of audio; 0 where it could not be read and nothing says how long it is."""
        return self.prediction.duration_s or 0.0


def pseudo_label(config: PseudoLabelConfig) -> None:
    """Transcribe and filter as the config says; prints the summary last.

    Raises:
        UserError: any mistake in config, data or checkpoint; too many unreadable recordings; an interruption; nothing is left.
    """
    # 1 whatever can be refused before a weight is read
    rules = recorded_normalizer(config.run_dir, config.normalizer, resume=config.resume)
    config = replace(config, normalizer=rules)
    _refuse_unknown_confidence(config)
    machine = join_machine(config.device, config.precision)
    source = replace(config.source, columns=config.source.columns | {"text": ""})
    table = load_table(source, SET_NAME, is_one_split=False, key="source")
    sets = [UtteranceSet(SET_NAME, list(table), intake=table.intake)]
    others = _transcripts_of(config.agree_with) if config.agree_with else None

    # 2 transcripts, resumable like those of an evaluation
    run = TranscriptionRun(config, sets, machine, "pseudo_label", FILTER_KEYS)
    run.open()
    run.transcribe(error_counter(get_normalizer(config.normalizer)))

    # 3 what of them may be trained on
    if run.is_main:
        labels = label_all(sets[0].utterances, run.predictions().predictions, config, others)
        write_labels(run.run_dir, labels)
        print(summary_text(labels, config))


def label_all(
    utterances: Sequence[Utterance],
    predictions: Sequence[Prediction],
    config: PseudoLabelConfig,
    others: Mapping[str, Prediction] | None = None,
) -> list[Label]:
    """The label of each utterance, in their order; of several reasons against one, the first is named.

    Args:
        others: another model's transcripts by id, where `agree_with` asks for them.

    Raises:
        ConfigError: `min_confidence` is asked of a system that gives none.
    """
    silent = [p for p in predictions if p.confidence is None and p.pred_text.strip() and not p.failed]
    if config.min_confidence is not None and silent:
        raise ConfigError(
            f"min_confidence={config.min_confidence:g}: the model gives no confidence (the first is {silent[0].id!r}); the "
            "same command with resume=true min_confidence=null keeps the transcripts"
        )
    labels = []
    for utterance, prediction in zip(utterances, predictions, strict=True):
        label, fault = _labelled(utterance, prediction, config.decode)
        fault = _fault(label, prediction, config) or fault
        if fault is None and others is not None:
            fault = _disagreement(label, others.get(label.id), config)
        labels.append(Label(label, prediction, *(fault or (None, None))))
    return labels


Fault = tuple[str, str]  # kind of reason, the same with its numbers


def _labelled(utterance: Utterance, prediction: Prediction, decode: DecodeConfig) -> tuple[Utterance, Fault | None]:
    """The utterance as a manifest may have it; what is wrong with the language that was heard."""
    assert isinstance(utterance.audio, str), "map-style sources give paths and references"
    path = utterance.audio if is_arrow_reference(utterance.audio) else str(Path(utterance.audio).absolute())
    text = prediction.pred_text.strip()
    told = utterance.language if decode.language == REFERENCE else decode.language
    heard, fault = (None if told == AUTO else told), None
    if decode.language == AUTO:
        try:
            heard = resolve_language(prediction.predicted_language, where="", new_languages=decode.new_languages)
        except DataError:
            fault = ("unknown language", f"the model calls its language {prediction.predicted_language!r}")
        if heard and utterance.language and heard != utterance.language:
            fault = ("other language", f"the model hears {heard}, the source says {utterance.language}")
    language = (heard or utterance.language) if text else None  # the model writes "language None" where nobody speaks
    return replace(utterance, audio=path, text=text, language=language, duration_s=prediction.duration_s), fault


def _fault(label: Utterance, prediction: Prediction, config: PseudoLabelConfig) -> Fault | None:
    text, confidence = label.text or "", prediction.confidence
    if prediction.failed:
        return "unreadable", prediction.failed
    if prediction.is_truncated:
        return "truncated", "met the limit of new tokens before its end"
    if not text:
        return None if config.keep_no_speech else ("no speech", "nothing was heard; keep_no_speech=true keeps such")
    [score] = score_utterances(
        [replace(prediction, text=None, language=label.language)], get_normalizer(config.normalizer)
    )
    if score.counts.has_loop:
        return "loop", "its text repeats itself"
    rate = len(text) / label.duration_s if label.duration_s else float("inf")
    if not config.min_characters_per_s <= rate <= config.max_characters_per_s:
        low, high = config.min_characters_per_s, config.max_characters_per_s
        return "speaking rate", f"{rate:.1f} characters a second, not {low:g} to {high:g}"
    if config.min_confidence is not None and confidence is not None and confidence < config.min_confidence:
        return "confidence", f"confidence {confidence:.3f}, less than min_confidence={config.min_confidence:g}"
    return None


def _disagreement(label: Utterance, other: Prediction | None, config: PseudoLabelConfig) -> Fault | None:
    if other is None or other.failed:
        return "no second transcript", f"agree_with={config.agree_with} has none"
    pair = replace(other, text=label.text, language=label.language, parent_id=None)
    [score] = score_utterances([pair], get_normalizer(config.normalizer))
    percent = primary_error_percent(score)
    if percent <= config.max_disagreement_percent:
        return None
    return (
        "disagreement",
        f"{percent:.0f} % apart, more than max_disagreement_percent={config.max_disagreement_percent:g}",
    )


def write_labels(run_dir: Path, labels: Sequence[Label]) -> None:
    """Write manifest, rejects and summary, each all or nothing.

    Raises:
        DataError: every recording was rejected, which names the commonest reason. An earlier manifest does not outlive that.
    """
    kept = [label for label in labels if label.rejected is None]
    rejects = [label for label in labels if label.rejected is not None]
    # No `?` for half a surrogate pair: in texts there is none left (sources refuse it, read predictions are mended), and a
    # path with a `?` would name another file.
    write_rows(run_dir / REJECTS, map(_reject_row, rejects))
    write_result(run_dir / SUMMARY, summary_row(labels))
    if not kept:
        (run_dir / MANIFEST).unlink(missing_ok=True)
        kind, count = Counter(label.rejected for label in rejects).most_common(1)[0]
        example = next(label for label in rejects if label.rejected == kind)
        raise DataError(
            f"all {len(labels)} recordings were rejected, {count} of them like {example.utterance.id!r}: {example.reason}; "
            f"see {run_dir / REJECTS}; the same command with resume=true and other limits filters anew"
        )
    write_rows(run_dir / MANIFEST, map(_manifest_row, kept))


def _manifest_row(label: Label) -> dict[str, Any]:
    """A row like any other, with two columns that sources do not look at."""
    confidence = label.prediction.confidence
    extra = {"label": PSEUDO, "confidence": None if confidence is None else round(confidence, 4)}
    return utterance_to_row(label.utterance) | extra


def _reject_row(label: Label) -> dict[str, Any]:
    utterance, prediction = label.utterance, label.prediction
    return {
        "id": utterance.id,
        "audio": utterance.audio_name,
        "origin": utterance.origin,
        "kind": label.rejected,
        "reason": label.reason,
        "text": prediction.pred_text,
        "confidence": prediction.confidence,
    }


@dataclass(frozen=True, slots=True)
class _Amount:
    num_recordings: int
    hours: float

    @classmethod
    def of(cls, labels: Sequence[Label]) -> "_Amount":
        return cls(len(labels), sum(label.duration_s for label in labels) / 3600)

    @property
    def text(self) -> str:
        return f"{self.num_recordings:8d} {self.hours:9.3f} h"


def _rejected_by_kind(labels: Sequence[Label]) -> dict[str, _Amount]:
    kinds = Counter(label.rejected for label in labels if label.rejected)
    return {kind: _Amount.of([label for label in labels if label.rejected == kind]) for kind, _ in kinds.most_common()}


def _by_confidence(labels: Sequence[Label]) -> dict[float, _Amount]:
    """What would be left at other limits of confidence, of all that only confidence can reject."""
    open_ones = [label for label in labels if label.rejected in (None, "confidence")]
    sure = [(label, label.prediction.confidence) for label in open_ones]
    if not sure or any(confidence is None for _, confidence in sure):
        return {}
    return {limit: _Amount.of([one for one, c in sure if c is not None and c >= limit]) for limit in SHOWN_CONFIDENCES}


def summary_row(labels: Sequence[Label]) -> dict[str, Any]:
    """The content of summary.json."""
    kept = [label for label in labels if label.rejected is None]
    by_language = Counter(label.utterance.language or "no speech" for label in kept)
    return {
        "version": SUMMARY_VERSION,
        "all": dataclasses.asdict(_Amount.of(labels)),
        "kept": dataclasses.asdict(_Amount.of(kept)),
        "kept_languages": dict(by_language.most_common()),
        "rejected": {kind: dataclasses.asdict(amount) for kind, amount in _rejected_by_kind(labels).items()},
        "at_min_confidence": {str(c): dataclasses.asdict(amount) for c, amount in _by_confidence(labels).items()},
    }


def summary_text(labels: Sequence[Label], config: PseudoLabelConfig) -> str:
    """What is printed: kept, dropped by kind of reason, and what other limits of confidence would give."""
    kept = [label for label in labels if label.rejected is None]
    parts = {"all": _Amount.of(labels), "kept": _Amount.of(kept)}
    parts |= {f"  rejected: {kind}": amount for kind, amount in _rejected_by_kind(labels).items()}
    parts |= {f"at min_confidence={limit:g}": amount for limit, amount in _by_confidence(labels).items()}
    lines = [f"{name:32s} {amount.text}" for name, amount in parts.items()]
    run_dir = Path(config.run_dir)
    where = f"{run_dir / MANIFEST}: {len(kept)} recordings; {run_dir / REJECTS}: {len(labels) - len(kept)}"
    return "\n".join([*lines, "", where])


def _refuse_unknown_confidence(config: PseudoLabelConfig) -> None:
    """Before hours are spent: families whose transcripts come without a confidence. Of a command nobody knows yet."""
    family = config.model.family
    if config.min_confidence is None or family == "command":
        return
    what = None
    if Capability.CONFIDENCE not in find_family(family).capabilities:
        what = f"models of family {family} give no confidence"
    elif config.decode.engine is Engine.generate:
        what = "decode.engine=generate gives no confidence"
    if what is not None:
        raise ConfigError(
            f"min_confidence={config.min_confidence:g}: {what}; set min_confidence=null, and perhaps agree_with=RUN"
        )


def _transcripts_of(run_dir: str) -> dict[str, Prediction]:
    """id -> transcript of an earlier run; raises DataError where there is none, or an id stands in several sets."""
    if not (Path(run_dir) / PREDICTIONS).is_file():
        raise DataError(
            f"agree_with={run_dir}: holds no {PREDICTIONS}; name the run_dir of a finished pseudo_label run"
        )
    predictions = load_predictions(run_dir).predictions
    by_id = {prediction.id: prediction for prediction in predictions}
    if len(by_id) < len(predictions):
        raise DataError(f"agree_with={run_dir}: ids repeat in several sets; name a run on this source alone")
    return by_id
