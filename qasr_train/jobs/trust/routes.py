"""Owns the job of `recipes/routes.py`: the same clips through several routes to a model, each in a process of its own.

Input: a model, clips with references, commands. Output in run_dir: an evaluation of each route, one of our own routes with one
clip at a time (NAME_alone), routes.json, routes.html. Exit status 1 where a route is worse, 3 where one cannot be told.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from qasr_train.errors import InterruptedRunError, UserError
from qasr_train.evaluation.results import evaluate_sets
from qasr_train.evaluation.routes.compare import Route, RouteResult, Standing, compare_routes, different_texts
from qasr_train.evaluation.routes.page import routes_page, routes_row, routes_summary
from qasr_train.evaluation.scoring.metrics import Resampling
from qasr_train.evaluation.scoring.run_files import is_scored, load_run, write_text
from qasr_train.evaluation.suites.suite import load_suite
from qasr_train.jobs.settings.evaluate import SCORING_KEYS, EvaluateConfig
from qasr_train.jobs.settings.trust.routes import GENERATE, OURS, RoutesConfig
from qasr_train.models.families import Role, find_family
from qasr_train.run.apart import run_apart
from qasr_train.run.device import choose_device, join_machine
from qasr_train.run.directory import check_same_config, has_record, read_run, record_in_run, run_directory, write_record
from qasr_train.run.processes import refuse_several_processes
from qasr_train.transcription.run import MAY_CHANGE_ON_RESUME as OF_TRANSCRIPTION
from qasr_train.transcription.run import TranscriptionRun
from qasr_train.transcription.sets import UtteranceSet

MAY_CHANGE_ON_RESUME = ("resume", "routes", "include_generate", "margin_points", "resample_by")
MEMORY = "peak_memory"  # of run.json
_WHAT = {OURS: "our decoder", GENERATE: "transformers' generate over our model"}


def run(config: RoutesConfig) -> int:
    """Hear, compare, print; the exit status says whether a route is worse; raises as `routes`."""
    results, num_different = routes(config)
    print(routes_summary(results, num_different, config.margin_points, config.run_dir))
    standings = {one.standing for one in results}
    return 1 if Standing.worse in standings else 3 * (Standing.unknown in standings)


def routes(config: RoutesConfig) -> tuple[list[RouteResult], int]:
    """(a result a route, our own first; on how many clips not all wrote the same).

    Raises:
        ConfigError: several processes were launched. UserError: as evaluate; what is done is not done again with resume=true.
    """
    # 1 what can be seen to be wrong before a weight is read
    refuse_several_processes("routes")
    choose_device(config.device)
    if config.resume:
        check_same_config(Path(config.run_dir), config, ignore=MAY_CHANGE_ON_RESUME)
    [clips] = load_suite(config.evaluation(OURS, config.run_dir, resume=False).suite, key="source")
    names = [OURS, *([GENERATE] if _has_generate(config) else []), *config.routes]

    # 2 each route, one after the other
    with run_directory(config.run_dir, config, "routes", resume=config.resume) as run_dir:
        heard = []
        for number, name in enumerate(names, start=1):
            print(f"\n== {number} of {len(names)}: {name}", flush=True)
            heard.append(_heard(config, name, run_dir, clips))

        # 3 what they say
        results = compare_routes(heard, config.margin_points, Resampling(resample_by=config.resample_by))
        texts = different_texts(heard)
        write_record(run_dir / "routes.json", routes_row(results, texts, config.margin_points))
        write_text(run_dir / "routes.html", routes_page(results, texts, config.margin_points))
    return results, len(texts)


def _has_generate(config: RoutesConfig) -> bool:
    """Families that we only evaluate have no decoder but that of their library."""
    if config.include_generate and find_family(config.model.family).role is not Role.TRAINABLE:
        print(f"note: include_generate: {config.model.family} models have no decoder of ours beside their library's")
        return False
    return config.include_generate


def _heard(config: RoutesConfig, name: str, run_dir: Path, clips: UtteranceSet) -> Route:
    """One route: evaluated, and, if it is ours, timed with one clip at a time."""
    folder, command = run_dir / name, config.routes.get(name)
    try:
        _evaluate_apart(config, name, folder, clips)
    except UserError as error:
        if command is None or "model.command" not in str(error):
            raise
        # the evaluation of a command calls it by the key it has there; here it was given by another
        raise type(error)(str(error).replace("model.command", f"routes.{name}.command")) from None
    scored, memory = load_run(folder), read_run(folder).get(MEMORY, {})
    if command is not None:
        what, stated = command.name or command.command, [row.prediction.time_s for row in scored.rows if row.is_heard]
        is_stated = "stated" in next(iter(scored.record.get("command_time", {}).values()), "")
        latencies_s = [seconds for seconds in stated if seconds is not None] if is_stated else []
        return Route(name, what, scored, latencies_s, memory.get("resident_bytes"), memory.get("device_bytes"))
    latencies_s = []
    if config.num_latency_clips:
        alone = run_dir / f"{name}_alone"
        _evaluate_apart(config, name, alone, _some_of(clips, config), is_alone=True)
        rows = load_run(alone).rows
        latencies_s = [row.prediction.time_s for row in rows if row.prediction.time_s is not None]
    return Route(name, _WHAT[name], scored, latencies_s, memory.get("resident_bytes"), memory.get("device_bytes"))


def _some_of(clips: UtteranceSet, config: RoutesConfig) -> UtteranceSet:
    """The clips that are heard one at a time, in their order."""
    order = np.random.default_rng(config.seed).permutation(len(clips.utterances))[: config.num_latency_clips]
    return replace(clips, utterances=[clips.utterances[place] for place in sorted(order.tolist())])


def _evaluate_apart(
    config: RoutesConfig, name: str, folder: Path, clips: UtteranceSet, *, is_alone: bool = False
) -> None:
    """Make or go on with an evaluation in a process of its own, and record its memory; nothing where it is done."""
    evaluation = config.evaluation(name, str(folder), resume=has_record(folder), is_alone=is_alone)
    if is_scored(folder) and MEMORY in read_run(folder):
        check_same_config(folder, evaluation, ignore=(*OF_TRANSCRIPTION, *SCORING_KEYS))  # a command of the same name
        return
    try:
        device_bytes, resident_bytes = run_apart(_evaluate, evaluation, clips, only_children=name in config.routes)
    except KeyboardInterrupt:
        raise InterruptedRunError(
            f"interrupted at route {name!r}; what is done is kept: go on with the same command and resume=true "
            f"out={config.run_dir}"
        ) from None
    record_in_run(folder, **{MEMORY: {"resident_bytes": resident_bytes, "device_bytes": device_bytes}})


def _evaluate(config: EvaluateConfig, clips: UtteranceSet) -> int | None:
    """In the process of a route: bytes of the GPU's memory that tensors had at most; None without a GPU."""
    machine = join_machine(config.device, config.precision)
    run = TranscriptionRun(config, [clips], machine, "evaluate", SCORING_KEYS)
    evaluate_sets(run, config.scoring(), config.tracking)
    return int(torch.cuda.max_memory_allocated(machine.device)) if machine.device.type == "cuda" else None
