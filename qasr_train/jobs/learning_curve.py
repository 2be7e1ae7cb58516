"""Owns the job of `recipes/learning_curve.py`: what a model makes of its test sets by the number of recordings it is trained on.

Input: a fine-tune with a suite, and amounts. Output: for each amount (and seed) the run of a fine-tune, its evaluation, and one
on clips it was trained on; curve.json, curve.html with a verdict. An amount is a draw of one source, smaller ones within
larger ones. Killed at any moment it goes on with resume=true.
"""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from qasr_train.data.length_limits import measure_durations
from qasr_train.errors import ConfigError, InterruptedRunError
from qasr_train.evaluation.learning.amounts import Amount
from qasr_train.evaluation.learning.curve import AmountRuns, Curve, curve_row, make_curve
from qasr_train.evaluation.report.curve import curve_page, curve_summary
from qasr_train.evaluation.results import evaluate_sets
from qasr_train.evaluation.scoring.run_files import is_scored, load_run, write_text
from qasr_train.evaluation.scoring.score import ScoredRun
from qasr_train.evaluation.suites.suite import load_suite
from qasr_train.jobs.finetune import MAY_CHANGE_ON_RESUME as OF_TRAINING
from qasr_train.jobs.finetune import finetune, refuse_mistakes
from qasr_train.jobs.settings.evaluate import SCORING_KEYS
from qasr_train.jobs.settings.learning_curve import TAUGHT, LearningCurveConfig
from qasr_train.run.device import Machine, join_machine
from qasr_train.run.directory import check_same_config, has_record, read_run, record_in_run, run_directory, write_record
from qasr_train.run.processes import refuse_several_processes
from qasr_train.sources.source import load_table
from qasr_train.sources.table import UtteranceTable, draw
from qasr_train.training.checkpoint import checkpoint_path, list_checkpoints, read_state
from qasr_train.transcription.run import TranscriptionRun
from qasr_train.transcription.sets import UtteranceSet

# Other amounts are drawn of the same order of clips, so what is done stays right.
MAY_CHANGE_ON_RESUME = (
    "amounts",
    "include_all",
    "include_base",
    "keep_checkpoints",
    "resample_by",
    "seeds",
    "longer",
    *OF_TRAINING,
)
SOURCE, TRAINED = "cut_source", "trained_on"  # of run.json: of the curve, and of each fine-tune that came to its end


@dataclass(frozen=True)
class Study:
    """What all amounts have in common. clips: all there are, of which each draws its own."""

    config: LearningCurveConfig
    machine: Machine
    sets: list[UtteranceSet]
    clips: UtteranceTable
    run_dir: Path


@dataclass(frozen=True)
class Training:
    """One fine-tune of a study. config: with its seed. longer: times the usual length; None: the usual one."""

    config: LearningCurveConfig
    study: Study
    num_clips: int
    longer: float | None = None

    def folder(self, what: str) -> Path:
        """Where its training, its evaluation or that of taught clips lies."""
        seed = "" if self.config.seed == self.study.config.seed else f"_seed{self.config.seed}"
        return self.study.run_dir / f"{what}_{self.num_clips}{seed}{f'_longer{self.longer:g}' if self.longer else ''}"


def run(config: LearningCurveConfig) -> None:
    """Draw the curve, and print the table and the verdict; raises as `learning_curve`."""
    print(curve_summary(learning_curve(config), config.run_dir))


def learning_curve(config: LearningCurveConfig) -> Curve:
    """Train on every amount, evaluate what came of it, and write the figures and the picture.

    Raises:
        ConfigError: several processes were launched; the source is not the one that a resumed run was begun with.
        UserError: as finetune and evaluate; an amount that is done is not done again with resume=true.
    """
    # 1 what can be seen to be wrong before a weight is read
    refuse_several_processes("learning_curve")
    config = config.as_begun()
    is_resumed = config.resume and has_record(Path(config.run_dir))
    if is_resumed:
        check_same_config(Path(config.run_dir), config, ignore=MAY_CHANGE_ON_RESUME)
    refuse_mistakes(config)
    machine = join_machine(config.trainer.device, config.precision)
    sets = load_suite(config.suite, columns=config.carried)

    # 2 the clips there are, and the amounts of them
    name = config.cut
    clips = load_table(config.data.train[name], name, is_trained_on=True, key=f"data.train.{name}")
    amounts = choose_amounts(config, len(clips))

    # 3 each amount
    with run_directory(config.run_dir, config, "learning_curve", resume=is_resumed) as run_dir:
        _refuse_other_clips(run_dir, name, clips)
        study = Study(config, machine, sets, clips, run_dir)
        runs = []
        for number, num_clips in enumerate(amounts, start=1):
            print(f"\n== {number} of {len(amounts)}: {_named(run_dir, num_clips)}", flush=True)
            runs.append(_run_amount(study, num_clips, config.seeds or [config.seed]))
        longer = _run_longer(study, amounts[-1])

        # 4 what they say
        curve = make_curve(name, config.suite.name, runs, longer, resample_by=config.resample_by, seed=config.seed)
        write_record(run_dir / "curve.json", curve_row(curve))
        write_text(run_dir / "curve.html", curve_page(curve, _reports(study, amounts)))
    return curve


def _run_amount(study: Study, num_clips: int, seeds: Sequence[int], longer: float | None = None) -> AmountRuns:
    """One amount, trained and scored with each seed; none at all is scored once."""
    if not num_clips:
        return AmountRuns(Amount(0), [_scored(Training(study.config, study, 0), Amount(0))])
    amounts, tests, taught = [], [], []
    for seed in seeds:
        one = Training(study.config.with_seed(seed), study, num_clips, longer)
        amounts.append(amount := _trained(one))
        tests.append(_scored(one, amount))
        taught += [found] if (found := _scored_on_taught(one, amount)) else []
        if not study.config.keep_checkpoints:
            shutil.rmtree(one.folder("training") / "checkpoints", ignore_errors=True)
    first = Training(study.config.with_seed(seeds[0]), study, num_clips, longer)
    return AmountRuns(amounts[0], tests, taught if len(taught) == len(tests) else [], first.folder("training"))


def _run_longer(study: Study, num_clips: int) -> AmountRuns | None:
    """The largest amount once more and longer, with the first seed; None where that is not asked for."""
    config = study.config
    if config.longer is None or not num_clips:
        return None
    print(f"\n== {num_clips} clips, {config.longer:g} times as long", flush=True)
    return _run_amount(study, num_clips, (config.seeds or [config.seed])[:1], config.longer)


def choose_amounts(config: LearningCurveConfig, num_clips: int) -> list[int]:
    """The numbers of clips to train on, by rising number, 0 the model before training; those beyond all there are become all."""
    beyond = [amount for amount in config.amounts if amount > num_clips]
    if beyond:
        asked = ", ".join(map(str, beyond))
        print(f"note: amounts: data.train.{config.cut} holds {num_clips} clips, so {asked} is all of them")
    chosen = {min(amount, num_clips) for amount in config.amounts}
    return sorted(chosen | ({num_clips} if config.include_all else set()) | ({0} if config.include_base else set()))


def _reports(study: Study, amounts: Sequence[int]) -> dict[str, str]:
    """Amount, as it is called, -> the report of its evaluation, from the run's folder: of the first seed."""
    config = study.config.with_seed((study.config.seeds or [study.config.seed])[0])
    folders = {
        amount: Training(config if amount else study.config, study, amount).folder("evaluation") for amount in amounts
    }
    return {
        f"{amount} clips" if amount else "before training": f"{folder.name}/report.html"
        for amount, folder in folders.items()
    }


def _named(run_dir: Path, num_clips: int) -> str:
    done = ", done before" if is_scored(run_dir / f"evaluation_{num_clips}") else ""
    return (f"{num_clips} clips" if num_clips else "the model before training") + done


def _refuse_other_clips(run_dir: Path, name: str, clips: UtteranceTable) -> None:
    """Draws of other clips would not lie within each other."""
    ids = "\n".join(str(one) for one in clips.column("id").to_pylist())
    state = {"name": name, "num_clips": len(clips), "digest": hashlib.sha256(ids.encode()).hexdigest()}
    before = read_run(run_dir).get(SOURCE, state)
    if before != state:
        raise ConfigError(
            f"resume: the clips of data.train.{name} are not those {run_dir} was begun with ({before['num_clips']} of "
            f"{before['name']} -> {len(clips)} of {name}); restore the manifest, or give another run_dir"
        )
    record_in_run(run_dir, **{SOURCE: state})


def _trained(one: Training) -> Amount:
    """A fine-tune, made or gone on with unless that is done."""
    config, folder, num_clips = one.config, one.folder("training"), one.num_clips
    is_begun = has_record(folder)
    if not is_begun:
        shutil.rmtree(folder, ignore_errors=True)
    if is_begun and (done := read_run(folder).get(TRAINED)):
        return Amount(**done)
    try:
        finetune(config.training(num_clips, str(folder), resume=is_begun, longer=one.longer))
    except InterruptedRunError:
        raise InterruptedRunError(
            f"interrupted while training on {num_clips} clips; saved; go on with the same command and resume=true "
            f"out={one.study.run_dir}"
        ) from None
    state = read_state(list_checkpoints(folder)[-1])
    clips = measure_durations(draw(one.study.clips, num_clips, config.seed))
    speakers = {clip.speaker for clip in clips if clip.speaker is not None}
    amount = Amount(
        num_clips,
        hours=round(sum(clip.duration_s or 0.0 for clip in clips) / 3600, 4),
        num_speakers=len(speakers) or None,
        num_steps=state.step,
        checkpoint=str(checkpoint_path(folder, state.best_step or state.step)),
    )
    record_in_run(folder, **{TRAINED: asdict(amount)})
    return amount


def _scored(one: Training, amount: Amount) -> ScoredRun:
    """The evaluation on the tests."""
    return _evaluated(one.folder("evaluation"), one, amount, one.study.sets)


def _scored_on_taught(one: Training, amount: Amount) -> ScoredRun | None:
    """The evaluation on a sample of what was trained on; None where none is asked for, or the checkpoint is gone."""
    config, folder = one.config, one.folder(TAUGHT)
    number = min(config.num_taught_clips, one.num_clips)
    if not number or (not is_scored(folder) and not Path(amount.checkpoint or "").is_dir()):
        return None
    data = config.data
    clips = [
        clip
        for clip in measure_durations(draw(one.study.clips, number, config.seed))
        if data.min_duration_s <= (clip.duration_s or 0.0) <= data.max_duration_s and clip.text is not None
    ]
    return _evaluated(folder, one, amount, [UtteranceSet(TAUGHT, clips)]) if clips else None


def _evaluated(folder: Path, one: Training, amount: Amount, sets: Sequence[UtteranceSet]) -> ScoredRun:
    """An evaluation, made or gone on with unless that is done."""
    if is_scored(folder):
        return load_run(folder)
    is_begun = has_record(folder)
    if not is_begun:
        shutil.rmtree(folder, ignore_errors=True)
    suite = one.config.taught_suite(len(sets[0].utterances)) if sets[0].name == TAUGHT else None
    evaluation = one.config.evaluation(amount.checkpoint, str(folder), resume=is_begun, suite=suite)
    transcription = TranscriptionRun(evaluation, sets, one.study.machine, "evaluate", SCORING_KEYS)
    scored = evaluate_sets(transcription, evaluation.scoring(), evaluation.tracking)
    assert scored is not None, "a learning curve is one process"
    return scored
