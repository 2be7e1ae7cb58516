"""Owns the evaluation job, `recipes/evaluate.py`: model + suite + decode -> predictions -> scores -> report.

Input: EvaluateConfig. Output: a run directory, see docs/evaluation.md; a table on stdout. Killed at any moment it goes
on with resume=true; under `accelerate launch` the processes share the batches, and the result is that of one.
"""

from dataclasses import replace

from qasr_train.alignment.hearing import open_recogniser
from qasr_train.evaluation.results import evaluate_sets
from qasr_train.evaluation.settings import AlignmentSuiteConfig
from qasr_train.evaluation.suites.suite import load_suite
from qasr_train.evaluation.timing.baselines import OtherLetters, open_baseline
from qasr_train.evaluation.timing.evaluate import evaluate_timing, refuse_untimed
from qasr_train.evaluation.words.calibrated import check_dev
from qasr_train.jobs.settings.evaluate import SCORING_KEYS, EvaluateConfig
from qasr_train.models.families import load_aligner
from qasr_train.run.device import join_machine
from qasr_train.run.directory import recorded_normalizer, run_directory
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.run import TranscriptionRun


def evaluate(config: EvaluateConfig) -> None:
    """Evaluate as the config says; see the module's docstring.

    Raises:
        UserError: any mistake in config, data or checkpoint; too many unreadable recordings; an interruption.
    """
    if isinstance(config.suite, AlignmentSuiteConfig):
        evaluate_aligner(config, config.suite)
        return

    # 1 whatever can be refused before a weight is read
    rules = recorded_normalizer(config.run_dir, config.suite.normalizer, resume=config.resume)
    config = replace(config, suite=replace(config.suite, normalizer=rules))
    machine = join_machine(config.device, config.precision)
    scoring = config.scoring()
    sets = load_suite(config.suite, columns=scoring.by.carried)
    check_dev(config.words, [one.name for one in sets])
    for language in {utterance.language for one in sets for utterance in one.utterances}:
        get_normalizer(rules).requires(language)

    # 2 the run directory, transcripts, scores and report
    run = TranscriptionRun(config, sets, machine, "evaluate", SCORING_KEYS)
    evaluate_sets(run, scoring, config.tracking)


def evaluate_aligner(config: EvaluateConfig, suite: AlignmentSuiteConfig) -> None:
    """Times of words beside references, by the aligner and by what it is compared with; raises as `evaluate`."""
    machine = join_machine(config.device, config.precision)
    sets = {one.name: one.utterances for one in load_suite(suite)}
    refuse_untimed(sets)
    baselines = {one.family: one for one in map(open_baseline, suite.baselines)}
    with run_directory(config.run_dir, config, "evaluate", resume=config.resume) as run_dir:
        aligner = load_aligner(config.model, device=machine.device, dtype=machine.dtype)
        other = {f"{config.model.path}, other letters": OtherLetters(aligner)} if suite.other_letters else {}
        aligners = {config.model.path: aligner, **other, **baselines}
        hear = open_recogniser(suite.recogniser, device=machine.device, dtype=machine.dtype)
        evaluate_timing(sets, aligners, run_dir, hear=hear, min_confidence=suite.min_confidence)
