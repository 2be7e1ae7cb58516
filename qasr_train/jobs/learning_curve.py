"""Owns the job of `recipes/learning_curve.py`: what a model makes of its test sets by the number of recordings it is trained on.

Input: a fine-tune with a suite, and amounts. Output: for each amount the run of a fine-tune and its evaluation, curve.json,
curve.html. An amount is a draw of one source, smaller ones within larger ones. Killed at any moment it goes on with resume=true.
"""

import hashlib
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from qasr_train.data.length_limits import measure_durations
from qasr_train.errors import ConfigError, InterruptedRunError
from qasr_train.evaluation.comparing.amounts import Amount, CurvePoint, curve_point, curve_row, growth_between
from qasr_train.evaluation.report.curve import Curve, curve_page, curve_summary
from qasr_train.evaluation.results import evaluate_sets
from qasr_train.evaluation.scoring.metrics import Resampling
from qasr_train.evaluation.scoring.run_files import is_scored, load_run, write_text
from qasr_train.evaluation.scoring.score import ScoredRun
from qasr_train.evaluation.suites.suite import load_suite
from qasr_train.jobs.finetune import MAY_CHANGE_ON_RESUME as OF_TRAINING
from qasr_train.jobs.finetune import finetune, refuse_mistakes
from qasr_train.jobs.settings.evaluate import SCORING_KEYS
from qasr_train.jobs.settings.learning_curve import LearningCurveConfig
from qasr_train.run.device import Machine, join_machine
from qasr_train.run.directory import RUN_FILE, check_same_config, read_run, record_in_run, run_directory, write_record
from qasr_train.run.processes import num_launched
from qasr_train.sources.source import load_table
from qasr_train.sources.table import UtteranceTable, draw
from qasr_train.training.checkpoint import checkpoint_path, list_checkpoints, read_state
from qasr_train.transcription.run import TranscriptionRun
from qasr_train.transcription.sets import UtteranceSet

# Other amounts are drawn of the same order of clips, so what is done stays right.
MAY_CHANGE_ON_RESUME = ("amounts", "include_all", "include_base", "keep_checkpoints", "resample_by", *OF_TRAINING)
SOURCE, TRAINED = "cut_source", "trained_on"  # of run.json: of the curve, and of each fine-tune that came to its end


@dataclass(frozen=True)
class Study:
    """What all amounts have in common. clips: all there are, of which each draws its own."""

    config: LearningCurveConfig
    machine: Machine
    sets: list[UtteranceSet]
    clips: UtteranceTable
    run_dir: Path


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
    if num_launched() > 1:
        raise ConfigError(
            f"WORLD_SIZE={num_launched()}: learning_curve does not share its work among processes; run it as one process, "
            "without accelerate launch or torchrun"
        )
    config = config.as_begun()
    is_resumed = config.resume and _is_begun(Path(config.run_dir))
    if is_resumed:
        check_same_config(Path(config.run_dir), config, ignore=MAY_CHANGE_ON_RESUME)
    refuse_mistakes(config)
    machine, sets = join_machine(config.trainer.device, config.precision), load_suite(config.suite)

    # 2 the clips there are, and the amounts of them
    name = config.cut
    clips = load_table(config.data.train[name], name, is_trained_on=True, key=f"data.train.{name}")
    amounts = choose_amounts(config, len(clips))

    # 3 each amount
    with run_directory(config.run_dir, config, "learning_curve", resume=is_resumed) as run_dir:
        _refuse_other_clips(run_dir, name, clips)
        study = Study(config, machine, sets, clips, run_dir)
        runs: list[tuple[int, ScoredRun]] = []
        points: list[CurvePoint] = []
        for number, num_clips in enumerate(amounts, start=1):
            print(f"\n== {number} of {len(amounts)}: {_named(run_dir, num_clips)}", flush=True)
            amount = _trained(study, num_clips) if num_clips else Amount(0)
            runs.append((num_clips, _scored(study, amount)))
            points.append(curve_point(amount, runs[-1][1]))

        # 4 what they say
        growth = growth_between(runs[-2], runs[-1]) if len(runs) > 1 else []
        curve = Curve(name, config.suite.name, points, growth)
        write_record(run_dir / "curve.json", curve_row(name, points, growth))
        write_text(run_dir / "curve.html", curve_page(curve))
    return curve


def choose_amounts(config: LearningCurveConfig, num_clips: int) -> list[int]:
    """The numbers of clips to train on, by rising number, 0 the model before training; those beyond all there are become all."""
    beyond = [amount for amount in config.amounts if amount > num_clips]
    if beyond:
        asked = ", ".join(map(str, beyond))
        print(f"note: amounts: data.train.{config.cut} holds {num_clips} clips, so {asked} is all of them")
    chosen = {min(amount, num_clips) for amount in config.amounts}
    return sorted(chosen | ({num_clips} if config.include_all else set()) | ({0} if config.include_base else set()))


def _named(run_dir: Path, num_clips: int) -> str:
    done = ", done before" if is_scored(run_dir / f"evaluation_{num_clips}") else ""
    return (f"{num_clips} clips" if num_clips else "the model before training") + done


def _is_begun(folder: Path) -> bool:
    """Whether a run has its record there; an empty one was killed right after it had claimed the folder."""
    record = folder / RUN_FILE
    return record.is_file() and record.stat().st_size > 0


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


def _trained(study: Study, num_clips: int) -> Amount:
    """The fine-tune on so many clips, made or gone on with unless that is done."""
    folder = study.run_dir / f"training_{num_clips}"
    is_begun = _is_begun(folder)
    if not is_begun:
        shutil.rmtree(folder, ignore_errors=True)
    if is_begun and (done := read_run(folder).get(TRAINED)):
        return Amount(**done)
    try:
        finetune(study.config.training(num_clips, str(folder), resume=is_begun))
    except InterruptedRunError:
        raise InterruptedRunError(
            f"interrupted while training on {num_clips} clips; saved; go on with the same command and resume=true "
            f"out={study.run_dir}"
        ) from None
    state = read_state(list_checkpoints(folder)[-1])
    clips = measure_durations(draw(study.clips, num_clips, study.config.seed))
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


def _scored(study: Study, amount: Amount) -> ScoredRun:
    """The evaluation of an amount, made or gone on with unless that is done."""
    config, folder = study.config, study.run_dir / f"evaluation_{amount.num_clips}"
    if is_scored(folder):
        scored = load_run(folder)
    else:
        is_begun = _is_begun(folder)
        if not is_begun:
            shutil.rmtree(folder, ignore_errors=True)
        evaluation = config.evaluation(amount.checkpoint, str(folder), resume=is_begun)
        transcription = TranscriptionRun(evaluation, study.sets, study.machine, "evaluate", SCORING_KEYS)
        found = evaluate_sets(transcription, evaluation.scoring(), evaluation.tracking)
        assert found is not None, "a learning curve is one process"
        scored = found
    if not config.keep_checkpoints:
        shutil.rmtree(study.run_dir / f"training_{amount.num_clips}" / "checkpoints", ignore_errors=True)
    return replace(scored, resampling=Resampling(resample_by=config.resample_by))
