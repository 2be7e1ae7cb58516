"""Owns the fine-tuning job: from a checked config to checkpoints, in numbered steps. `recipes/finetune.py` runs it.

Input: FinetuneConfig. Output: a run directory with config, provenance, metrics.jsonl and checkpoints.
"""

import logging
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, set_seed

from qasr_train.augment.clip_changes import Changes, make_changes
from qasr_train.data.buckets import BatchBudget
from qasr_train.data.encoder_cache import EncodingRun, open_cache
from qasr_train.data.length_limits import Limits
from qasr_train.data.mixture import ListPool, describe_shares
from qasr_train.data.settings import FeaturesOn
from qasr_train.data.source_pools import SourceContent, build_pools, open_sources
from qasr_train.data.training_data import TrainingData
from qasr_train.data.unreadable import UnreadableAudio
from qasr_train.data.workers import explain_dead_workers
from qasr_train.errors import UserError
from qasr_train.jobs.settings.finetune import FinetuneConfig
from qasr_train.manifest import Utterance
from qasr_train.models.adapt import apply_adaptation, count_parameters
from qasr_train.models.base import Trainable
from qasr_train.models.compiled import refuse_compiling
from qasr_train.models.families import load_trainable
from qasr_train.objectives.base import Objective
from qasr_train.objectives.table import build_objective
from qasr_train.run.device import choose_device
from qasr_train.run.directory import RUN_FILE, check_same_config, run_directory
from qasr_train.run.heartbeat import Peers
from qasr_train.run.processes import processes_of
from qasr_train.run.tracking import Tracker, tracker_names
from qasr_train.sources.source import check_source
from qasr_train.text.normalize import get_normalizer
from qasr_train.text.style import set_style, style_remarks
from qasr_train.training.batch_search import batch_seconds_for, refuse_batch_search
from qasr_train.training.checkpoint import TrainState, latest_checkpoint
from qasr_train.training.launch import make_accelerator, refuse_launch
from qasr_train.training.settings import is_sharding_asked_for
from qasr_train.training.step import build_step
from qasr_train.training.trainer import Trainer, build_trainer, count_steps
from qasr_train.training.validation import Validator, load_dev_sets

log = logging.getLogger(__name__)

# Settings that may differ when a run is resumed: they change what is seen of the run, not its result.
MAY_CHANGE_ON_RESUME = (
    "resume",
    "tracking",
    "data.num_workers",
    # An epoch is cut anew from where it stands; see docs/training.md.
    "data.batch_seconds",
    "data.max_batch_rows",
    "trainer.num_microbatches",
    "data.prefetch_batches",
    "data.cache.max_gb",
    "trainer.keep_last",
    "trainer.keep_best",
    "trainer.peak_tflops",
    "trainer.peer_timeout_s",
    "trainer.collective_timeout_s",
)
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
    for source in (*config.data.train.values(), *config.data.dev.values()):
        check_source(source)
    changes = make_changes(
        config.augment,
        config.context,
        seed=config.seed,
        max_duration_s=min(config.data.max_duration_s, config.model.max_duration_s),
        max_target_tokens=config.data.max_target_tokens,
    )

    device = choose_device(config.trainer.device, key="trainer.device")
    refuse_launch(device)
    if config.trainer.find_batch_seconds:
        refuse_batch_search(device, is_sharded=is_sharding_asked_for())
    if config.trainer.compile:
        refuse_compiling(device, is_sharded=is_sharding_asked_for())

    # 1 the device, the run directory and its record
    accelerator = make_accelerator(
        device,
        config.trainer.precision,
        project_dir=Path(config.run_dir),
        trackers=tracker_names(config.tracking),
        collective_timeout_s=config.trainer.collective_timeout_s,
    )
    with ExitStack() as stack:
        stack.enter_context(explain_dead_workers())
        run_dir, resume_from = open_run(config, accelerator, stack)
        stack.enter_context(Peers(accelerator, run=config.run_dir, timeout_s=config.trainer.peer_timeout_s))
        trainer = prepare(config, accelerator, run_dir, changes, resume_from)

        # 7 train
        stack.callback(trainer.monitor.tracker.close)
        state = trainer.train(resume_from)
    accelerator.print(
        f"done: {state.step} steps, {state.audio_s / 3600:.2f} h of audio; {describe_result(run_dir, state)}"
    )


def prepare(
    config: FinetuneConfig, accelerator: Accelerator, run_dir: Path, changes: Changes, resume_from: Path | None
) -> Trainer:
    """Everything between the run directory and the first step."""
    set_seed(config.seed)

    # 2 what is trained on, as far as no model is needed for it; then the model and what of it is trained
    opened = open_sources(config.data.train, processes=processes_of(accelerator), seed=config.seed)
    model, objective = make_model(config, accelerator)
    if config.trainer.find_batch_seconds:
        found = batch_seconds_for(
            run_dir,
            accelerator,
            model,
            objective,
            max_duration_s=min(config.data.max_duration_s, config.model.max_duration_s),
            max_batch_rows=config.data.max_batch_rows,
        )
        config = replace(config, data=replace(config.data, batch_seconds=found))
    accelerator.print(count_parameters(model.module, model.parts))
    if not any(name.startswith("replay") for name in config.data.train) and resume_from is None:
        accelerator.print(NO_REPLAY)

    # 3 data
    data = make_training_data(config, model, accelerator, changes, opened)
    limits = Limits(config.data, model.collator, model_max_duration_s=config.model.max_duration_s)
    dev_sets = load_dev_sets(config.data.dev, limits, max_utterances=config.trainer.max_dev_utterances)
    print_dropped(limits, "data.dev", accelerator)

    # 4 optimizer and schedule
    num_steps = count_steps(config.trainer.num_epochs, config.trainer.max_steps, data, resume_from)
    step = build_step(
        config.trainer, config.optim, accelerator=accelerator, model=model, objective=objective, num_steps=num_steps
    )

    # 5 tracking and validation
    tracker = Tracker(config.tracking, accelerator, run_dir)
    tracker.start(config)
    validator = make_validator(config, model, accelerator, run_dir, dev_sets, tracker) if dev_sets else None

    # 6 the trainer
    return build_trainer(
        config.trainer,
        data,
        step,
        tracker=tracker,
        validate=validator,
        unreadable=UnreadableAudio(run_dir, config.data.max_failed_fraction, rank=accelerator.process_index),
        run_dir=run_dir,
        num_steps=num_steps,
    )


def make_model(config: FinetuneConfig, accelerator: Accelerator) -> tuple[Trainable, Objective]:
    """The model with everything on it that is trained, and the objective, which may have copied it."""
    model = load_trainable(
        config.model, device=accelerator.device, makes_features=config.data.features_on is FeaturesOn.worker
    )
    model.module = apply_adaptation(model.module, config.adapt, model.parts)
    objective = build_objective(config.objective, model)
    model.set_gradient_checkpointing(config.trainer.gradient_checkpointing)
    if config.trainer.compile:
        model.compile_layers()  # after the objective: a copy would compute with the weights of this one
        accelerator.print("trainer.compile=true: the first step compiles the layers, some 40 s for the 0.6B")
    return model, objective


def open_run(config: FinetuneConfig, accelerator: Accelerator, stack: ExitStack) -> tuple[Path, Path | None]:
    """Claim the run directory until `stack` closes, or find where to resume; the first process decides for all.

    Returns:
        The run directory, and the checkpoint to resume from (None: start at step 0).

    Raises:
        UserError: the directory is taken or cannot be written, or the run in it had other settings.
    """
    found: list[Any] = [None, None, None]
    if accelerator.is_main_process:
        try:
            record = Path(config.run_dir) / RUN_FILE
            # A run that was never started is started: after a preemption a cluster repeats one and the same command.
            is_resumed = config.resume and record.is_file()
            if is_resumed and record.stat().st_size:  # empty: killed right after it had claimed the folder
                check_same_config(Path(config.run_dir), config, ignore=MAY_CHANGE_ON_RESUME)
            found[0] = stack.enter_context(run_directory(config.run_dir, config, "finetune", resume=is_resumed))
            found[1] = latest_checkpoint(found[0]) if is_resumed else None
        except UserError as error:
            found[2] = error
    broadcast_object_list(found)
    if found[2] is not None:
        raise found[2]
    if config.resume and found[1] is None:
        accelerator.print(f"resume=true, but {found[0]} holds no checkpoint; starting at step 0")
    return found[0], found[1]


def make_training_data(
    config: FinetuneConfig,
    model: Trainable,
    accelerator: Accelerator,
    changes: Changes,
    opened: dict[str, SourceContent],
) -> TrainingData:
    """Apply limits and weights to the training sources, and print what is in them and what was dropped."""
    limits = Limits(config.data, model.collator, model_max_duration_s=config.model.max_duration_s)
    pools = build_pools(
        config.data.train,
        limits=limits,
        stream_window=config.data.stream_window,
        seed=config.seed,
        opened=opened,
        mix_temperature=config.data.mix_temperature,
        mix_by=config.data.mix_by,
    )
    for pool in pools.values():
        accelerator.print(pool.describe())
    lists = [pool for pool in pools.values() if isinstance(pool, ListPool)]
    if shares := describe_shares(lists):
        accelerator.print(shares)
    for remark in style_remarks({pool.name: set_style(pool.sampled_texts()) for pool in lists}):
        accelerator.print(f"note: {remark}")
    print_dropped(limits, "data.train", accelerator)
    load = open_cache(config.data.cache, model, pools, make_encoding_run(config, accelerator))
    accelerator.wait_for_everyone()
    return TrainingData(
        pools=pools,
        collator=model.collator,
        budget=batch_budget(config),
        seed=config.seed,
        num_microbatches=config.trainer.num_microbatches,
        num_workers=config.data.num_workers,
        prefetch_batches=config.data.prefetch_batches,
        pin_memory=accelerator.device.type == "cuda",
        processes=processes_of(accelerator),
        changes=changes,
        load=load,
    )


def batch_budget(config: FinetuneConfig) -> BatchBudget:
    """What a microbatch on one process may hold."""
    return BatchBudget(config.data.batch_seconds, config.data.max_batch_rows)


def make_encoding_run(config: FinetuneConfig, accelerator: Accelerator) -> EncodingRun:
    """How the encoder outputs of a cache are made: as the forward pass of training makes them."""
    return EncodingRun(
        budget=batch_budget(config),
        num_workers=config.data.num_workers,
        device=accelerator.device,
        precision=f"{accelerator.mixed_precision} {accelerator.device.type}",
        autocast=accelerator.autocast,
        processes=processes_of(accelerator),
    )


def make_validator(
    config: FinetuneConfig,
    model: Trainable,
    accelerator: Accelerator,
    run_dir: Path,
    dev_sets: dict[str, list[Utterance]],
    tracker: Tracker,
) -> Validator:
    """What watches the dev sets."""
    return Validator(
        accelerator=accelerator,
        model=model,
        dev_sets=dev_sets,
        decoding=config.decode.decoding(config.model.max_duration_s),
        normalizer=get_normalizer(config.normalizer),
        budget=batch_budget(config),
        num_samples=config.trainer.num_samples,
        run_dir=run_dir,
        tracker=tracker,
    )


def print_dropped(limits: Limits, key: str, accelerator: Accelerator) -> None:
    """Say what the limits of length dropped; streamed sources are not read yet and say it as they are."""
    for reason, number in limits.dropped.items():
        accelerator.print(f"{key}: dropped {number} utterances: {reason}")


def describe_result(run_dir: Path, state: TrainState) -> str:
    """What was left out, where the result lies, how to evaluate it, and whether the dev sets say that it is one."""
    unread = ""
    if state.num_failed:
        listed = run_dir / "failed_audio*.jsonl"  # one for each process that met any
        unread = (
            f"warning: unreadable recordings were left out ({state.num_failed}, counted in each epoch), see {listed}; "
        )
    if state.best_step is None:
        return f"{unread}evaluate it with model.path={run_dir / 'checkpoints' / 'last'}"
    found = f"{unread}best at step {state.best_step}; evaluate it with model.path={run_dir / 'checkpoints' / 'best'}"
    if state.value_before is not None and state.best_value is not None and state.best_value >= state.value_before:
        return f"warning: no checkpoint is better on the dev sets than the model was before training; {found}"
    return found
