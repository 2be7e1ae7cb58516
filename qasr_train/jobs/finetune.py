"""Owns the fine-tuning job: from a checked config to checkpoints, in numbered steps. `recipes/finetune.py` runs it.

Input: FinetuneConfig. Output: a run directory with config, provenance, metrics.jsonl, report.html and checkpoints.
"""

from contextlib import ExitStack
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed

from qasr_train.augment.clip_changes import Changes, make_changes
from qasr_train.corpus.expected_errors import read_expected_errors
from qasr_train.data.buckets import BatchBudget
from qasr_train.data.opening import (
    DevSets,
    TrainingSources,
    check_sources,
    open_dev_sets,
    open_training_sources,
    record_errors,
    record_rows,
    record_sources,
)
from qasr_train.data.training_data import TrainingData
from qasr_train.data.workers import explain_dead_workers
from qasr_train.jobs.settings.finetune import MAY_CHANGE_ON_RESUME, FinetuneConfig
from qasr_train.models.base import NamesSlots
from qasr_train.run.device import choose_device
from qasr_train.run.heartbeat import Peers
from qasr_train.run.processes import processes_of
from qasr_train.run.tracking import Tracker, tracker_names
from qasr_train.text.normalize import get_normalizer
from qasr_train.training.batch_search import find_budget
from qasr_train.training.launch import make_accelerator, refuse_machine
from qasr_train.training.learner import Learner, load_learner, refuse_rewards
from qasr_train.training.saving import claim_run, describe_result, record_model, record_plan
from qasr_train.training.step import build_step
from qasr_train.training.trainer import build_trainer, count_steps
from qasr_train.training.validation import SlotValidator, Validator

NO_REPLAY = (
    "note: no source of data.train is called replay: a model trained on one domain alone forgets the others; give general "
    "speech with data.train.replay.path=... and watch it with data.dev.guard.path=..."
)


def finetune(config: FinetuneConfig) -> None:
    """Train as the config says; see the module's docstring.

    Raises:
        UserError: any mistake in config, data or checkpoint, an interruption, a full disk.
    """
    # 0 what can be seen to be wrong before a model is downloaded
    changes, device = refuse_mistakes(config := config.as_begun())
    with ExitStack() as stack:
        # 1 the processes, the run directory and its record
        accelerator, run_dir, resume_from = open_run(config, device, stack)
        set_seed(config.seed)

        # 2 the sources, as far as no model is needed for them; the model, and how much of them it takes at once
        sources = read_sources(config, accelerator, run_dir if resume_from else None)
        learner, budget = open_model(config, accelerator, run_dir)

        # 3 the data
        if resume_from is None and not any(name.startswith("replay") for name in config.data.train):
            accelerator.print(NO_REPLAY)
        data, dev_sets = open_data(config, sources, learner, budget, changes)

        # 4 optimizer and schedule
        num_steps = planned_steps(config, data, resume_from, accelerator)
        step = build_step(config.trainer, config.optim, learner, num_steps=num_steps)

        # 5 tracker and validator
        tracker = Tracker(config.tracking, accelerator, run_dir)
        tracker.start(config)
        stack.callback(tracker.close)
        validator = make_validator(config, learner, budget, dev_sets, tracker) if dev_sets else None

        # 6 the loop
        trainer = build_trainer(
            config.trainer,
            data,
            step,
            tracker=tracker,
            validate=validator,
            max_failed_fraction=config.data.max_failed_fraction,
            run_dir=run_dir,
            num_steps=num_steps,
        )
        state = trainer.train(resume_from)
        sources.record_streams(run_dir)

    # 7 what came out
    accelerator.print(describe_result(run_dir, state))


def refuse_mistakes(config: FinetuneConfig) -> tuple[Changes, torch.device]:
    """What changes clips from epoch to epoch, and the device; refused where one of them cannot be had.

    Raises:
        UserError: a source or a file of augmentation is not there, or this machine or launch cannot do what is asked of it.
    """
    check_sources(config.data)
    refuse_rewards(config.objective)
    changes = make_changes(
        config.augment,
        config.context,
        seed=config.seed,
        max_duration_s=min(config.data.max_duration_s, config.model.max_duration_s),
        max_target_tokens=config.data.max_target_tokens,
        slotted=config.slotted,
    )
    device = choose_device(config.trainer.device, key="trainer.device")
    refuse_machine(device, config.trainer)
    config.trainer.guard.read_terms()  # again for the dev sets: a list that is not there is told before a model is loaded
    return changes, device


def open_run(config: FinetuneConfig, device: torch.device, stack: ExitStack) -> tuple[Accelerator, Path, Path | None]:
    """Accelerate, the run directory, held until `stack` closes, and the checkpoint to resume from (None: a new run).

    Raises:
        UserError: processes do not find each other, or the directory cannot be used.
    """
    accelerator = make_accelerator(
        device,
        config.trainer.precision,
        project_dir=Path(config.run_dir),
        trackers=tracker_names(config.tracking),
        collective_timeout_s=config.trainer.collective_timeout_s,
    )
    stack.enter_context(explain_dead_workers())
    run_dir, resume_from = stack.enter_context(
        claim_run(
            config.run_dir,
            config,
            accelerator,
            model=config.model,
            resume=config.resume,
            may_change=MAY_CHANGE_ON_RESUME,
        )
    )
    stack.enter_context(Peers(accelerator, run=config.run_dir, timeout_s=config.trainer.peer_timeout_s))
    return accelerator, run_dir, resume_from


def read_sources(config: FinetuneConfig, accelerator: Accelerator, resumed: Path | None) -> TrainingSources:
    """What is trained on, before there is a model. resumed: the directory of a run that goes on; None: of a new one."""
    return open_training_sources(
        config.data,
        processes=processes_of(accelerator),
        seed=config.seed,
        resumed=resumed,
        errors=read_expected_errors(config.data.sample_by_error),
    )


def planned_steps(
    config: FinetuneConfig, data: TrainingData, resume_from: Path | None, accelerator: Accelerator
) -> int:
    """How long the whole run is, in optimizer steps, recorded; where two settings say it, it is printed which counts."""
    trainer = config.trainer
    num_steps = count_steps(trainer.num_epochs, trainer.max_steps, data, resume_from, say=accelerator.print)
    record_plan(Path(config.run_dir), accelerator, num_steps)
    return num_steps


def open_model(config: FinetuneConfig, accelerator: Accelerator, run_dir: Path) -> tuple[Learner, BatchBudget]:
    """The model with its objective, and what a batch of it may hold: as configured, or found by trying."""
    learner = load_learner(
        accelerator,
        config.model,
        config.adapt,
        config.objective,
        makes_features=config.data.makes_features,
        recompute=config.trainer.gradient_checkpointing,
        compiles=config.trainer.compile,
    ).drawing(
        config.objective,
        seed=config.seed,
        max_new_tokens=config.decode.max_new_tokens,
        sampling=config.data.sample_by_error,
    )
    record_model(run_dir, learner.model, accelerator)
    budget = learner.budget(config.data.budget)
    if config.trainer.find_batch_seconds:
        longest_s = min(config.data.max_duration_s, config.model.max_duration_s)
        budget = find_budget(run_dir, learner, budget, max_duration_s=budget.counted_s(longest_s))
    accelerator.print(learner.parameter_counts())
    return learner, budget


def open_data(
    config: FinetuneConfig, sources: TrainingSources, learner: Learner, budget: BatchBudget, changes: Changes
) -> tuple[TrainingData, DevSets]:
    """What is trained on and what is watched; what is in them and what was dropped is printed, and rows are recorded."""
    data = sources.training_data(
        learner.model,
        learner.encoding_run(budget, num_workers=config.data.num_workers),
        model_max_duration_s=config.model.max_duration_s,
        changes=changes,
        num_microbatches=config.trainer.num_microbatches,
        say=learner.accelerator.print,
    )
    intakes = sources.intakes
    dev_sets = open_dev_sets(
        config.data,
        learner.model.collator,
        model_max_duration_s=config.model.max_duration_s,
        max_utterances=config.trainer.max_dev_utterances,
        say=learner.accelerator.print,
        note=intakes.__setitem__,
    )
    if learner.accelerator.is_main_process and not sources.takes_all:
        record_rows(Path(config.run_dir), intakes)
    if learner.accelerator.is_main_process:
        record_sources(Path(config.run_dir), config.data.train, data.pools)
        record_errors(Path(config.run_dir), sources.errors)
    return data, dev_sets


def make_validator(
    config: FinetuneConfig, learner: Learner, budget: BatchBudget, dev_sets: DevSets, tracker: Tracker
) -> Validator | SlotValidator:
    """What measures the model on the dev sets; raises ConfigError where their prompts would lose contexts."""
    if isinstance(learner.model, NamesSlots):
        slot_ms = 1000 * learner.model.slot_s
        return SlotValidator(learner.accelerator, learner.model, learner.objective, dev_sets, budget, slot_ms)
    return Validator(
        accelerator=learner.accelerator,
        model=learner.model,
        dev_sets=dev_sets,
        decoding=config.decode.decoding(config.model.max_duration_s),
        normalizer=get_normalizer(config.normalizer),
        budget=budget,
        num_samples=config.trainer.num_samples,
        run_dir=Path(config.run_dir),
        tracker=tracker,
        watches=config.trainer.guard.is_on,
        terms=config.trainer.guard.read_terms(),
    )
