"""Owns on what the confidences of a run are calibrated: sets of its own, or another run of other recordings.

Input: a scored run and the settings. Output: the run, its words measured so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from qasr_train.errors import ConfigError, DataError
from qasr_train.evaluation.scoring.score import ScoredRun, score_predictions
from qasr_train.evaluation.scoring.systems import run_record
from qasr_train.evaluation.scoring.utterance import UtteranceScore
from qasr_train.evaluation.spellings.taken import read_again
from qasr_train.evaluation.words.calibration import Calibration, fit_calibration
from qasr_train.evaluation.words.scores import WordMeasure, words_of_sets
from qasr_train.evaluation.words.settings import WordsConfig
from qasr_train.transcription.predictions import load_predictions

_OTHER_MODEL = "words.dev_run={}: was transcribed by other weights than this run; a calibration is of one model alone"


def check_dev(config: WordsConfig, sets: Sequence[str]) -> None:
    """Refuse, before anything is transcribed, what cannot be calibrated on. sets: the names of those of the run.

    Raises:
        ConfigError: nothing lies there; no such set.
    """
    if config.dev_run is not None:
        if not Path(config.dev_run).exists():
            raise ConfigError(
                f"words.dev_run={config.dev_run}: no such file or folder; name the predictions or the run of other recordings"
            )
        return
    for name in config.dev_sets:
        if name not in sets:
            raise ConfigError(f"words.dev_sets=[{name}]: no such set; there are {', '.join(sets)}")
    if config.dev_sets and set(config.dev_sets) >= set(sets):
        raise ConfigError(f"{_key(config)}: leaves no set to measure; name some of the sets, or words.dev_run=PATH")


def with_words(run: ScoredRun, config: WordsConfig) -> ScoredRun:
    """The run, its words measured as the settings say.

    Raises:
        ConfigError, DataError: no such set; recordings of the run itself; nothing tells how sure words are; too few words to
            calibrate on.
    """
    how = WordMeasure(config.aggregate, tuple(config.read_percents))
    check_dev(config, sorted({row.prediction.set for row in run.rows}))
    if config.dev_run is None and not config.dev_sets:
        return replace(run, word_measure=how)
    if not any(row.prediction.pieces for row in run.rows):
        raise ConfigError(
            f"{_key(config)}: the predictions tell no probabilities (`pieces`), so there is nothing to calibrate; evaluate anew "
            "a Qwen3-ASR or Whisper with decode.engine=auto"
        )
    if config.dev_run is not None:
        calibration = _of_other_run(run, config, config.dev_run)
        weights = [_weights(record) for record in (run.record, run_record(config.dev_run))]
        is_other = None not in weights and weights[0] != weights[1]
        warnings = [*run.warnings, *([_OTHER_MODEL.format(config.dev_run)] if is_other else [])]
        return replace(run, word_measure=replace(how, calibration=calibration), warnings=warnings)
    calibration = _fitted(run.rows, run, config, ", ".join(config.dev_sets))
    return replace(run, word_measure=replace(how, calibration=calibration, dev_sets=tuple(config.dev_sets)))


def _of_other_run(run: ScoredRun, config: WordsConfig, path: str) -> Calibration:
    lexicon = read_again(run.lexicon, run.path)
    rows = score_predictions(load_predictions(path).predictions, run.normalizer, lexicon=lexicon).rows
    own = {_identity(row) for row in run.rows}
    shared = [
        row for row in rows if _identity(row) in own and (not config.dev_sets or row.prediction.set in config.dev_sets)
    ]
    if shared:
        raise DataError(
            f"words.dev_run={path}: {len(shared)} of its utterances, the first {shared[0].prediction.id!r}, are also in the run "
            "that is scored; calibrate on other recordings, or the figures praise themselves"
        )
    return _fitted(rows, run, config, path + (f" ({', '.join(config.dev_sets)})" if config.dev_sets else ""))


def _fitted(rows: Sequence[UtteranceScore], run: ScoredRun, config: WordsConfig, source: str) -> Calibration:
    sets = dict.fromkeys(row.prediction.set for row in rows)
    for name in config.dev_sets:
        if name not in sets:
            raise ConfigError(f"words.dev_sets=[{name}]: no such set; there are {', '.join(sets)}")
    words = words_of_sets(rows, run.normalizer, config.aggregate, config.dev_sets)
    if not len(words.confidences):
        raise DataError(f"{_key(config)}: its predictions tell no probabilities (`pieces`); evaluate it anew")
    return fit_calibration(words.confidences, words.is_wrong, source)


def _weights(record: Mapping[str, Any]) -> str | None:
    """The digest of the weights that a run states."""
    model = record.get("model")
    return model.get("weights") if isinstance(model, dict) else None


def _key(config: WordsConfig) -> str:
    sets = f"words.dev_sets=[{','.join(config.dev_sets)}]"
    return sets if config.dev_run is None else f"words.dev_run={config.dev_run}"


def _identity(row: UtteranceScore) -> tuple[str | None, str, str | None]:
    return row.prediction.audio_filepath, row.prediction.id, row.prediction.text
