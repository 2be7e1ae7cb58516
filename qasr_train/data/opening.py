"""Owns opening what a run trains on and watches: sources before there is a model, then limits, weights, caches, batches.

Input: the settings of `data`, later a model. Output: `TrainingData` and dev sets; what is in the sources and what was dropped is
said.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qasr_train.augment.clip_changes import Changes
from qasr_train.data.encoder_cache import EncodingRun, open_cache
from qasr_train.data.hearing import FirstEpoch
from qasr_train.data.length_limits import Limits, measure_durations
from qasr_train.data.mixture import ListPool, describe_shares, seconds_by_language, source_of
from qasr_train.data.sampling import ExpectedErrors
from qasr_train.data.settings import DataConfig
from qasr_train.data.source_pools import Pool, SourceContent, build_pools, open_sources
from qasr_train.data.training_data import TrainingData
from qasr_train.errors import ConfigError
from qasr_train.manifest import Utterance
from qasr_train.models.base import Trainable, TrainingCollator
from qasr_train.run.directory import read_run, record_in_run
from qasr_train.run.processes import Processes
from qasr_train.sources.intake import Intake
from qasr_train.sources.settings import SourceConfig
from qasr_train.sources.source import check_source, hub_dataset, load_table
from qasr_train.sources.table import UNKNOWN, languages_of
from qasr_train.text.style import set_style, style_remarks

DevSets = dict[str, list[Utterance]]
ROWS = "rows"  # of run.json: what became of the rows of each source
ERRORS = "expected_errors"  # of run.json: by which predictions clips are drawn


def check_sources(config: DataConfig) -> None:
    """Refuse sources and dev sets that are not there; see `check_source`."""
    for source in (*config.train.values(), *config.dev.values()):
        check_source(source)


@dataclass(frozen=True)
class TrainingSources:
    """The sources of a run, opened as far as no model is needed for it.

    seed: of the run. takes_all: whether the run began before rows of other splits than train were set aside.
    errors: by which clips are drawn; None: all as often.
    """

    config: DataConfig
    opened: Mapping[str, SourceContent]
    processes: Processes
    seed: int
    takes_all: bool = False
    errors: ExpectedErrors | None = None

    @property
    def intakes(self) -> dict[str, Intake]:
        """What became of the rows of each source; of a stream, of those read so far."""
        return {f"train.{name}": content.intake for name, content in self.opened.items()}

    def record_streams(self, run_dir: Path) -> None:
        """Put into run.json what was read of streamed sources; the first process does, of what it has read."""
        streamed = {f"train.{name}" for name, source in self.config.train.items() if source.streaming}
        if streamed and self.processes.is_main:
            record_rows(run_dir, {name: intake for name, intake in self.intakes.items() if name in streamed})

    def training_data(
        self,
        model: Trainable,
        run: EncodingRun,
        *,
        model_max_duration_s: float,
        changes: Changes,
        num_microbatches: int,
        say: Callable[[str], None],
    ) -> TrainingData:
        """Apply limits and weights, fill the cache of encodings where one is asked for; all processes take part.

        Args:
            run: of the forward pass of training; its budget is that of a batch.
            model_max_duration_s: the longest clip the model takes.
            say: called with lines on what is in the sources and what was dropped.

        Raises:
            UserError: a source of which nothing is left, or a cache that cannot be used.
        """
        config = self.config
        limits = Limits(config, model.collator, model_max_duration_s=model_max_duration_s)
        pools = self._pools(limits)
        _require_pools(model.collator, pools)
        for line in (*describe_pools(pools), *limits.describe("data.train"), *_describe_changes(changes, pools)):
            say(line)
        load = open_cache(config.cache, model, pools, run)
        self.processes.wait()
        return TrainingData(
            pools=pools,
            collator=model.collator,
            budget=run.budget,
            seed=self.seed,
            num_microbatches=num_microbatches,
            num_workers=config.num_workers,
            prefetch_batches=config.prefetch_batches,
            pin_memory=run.device.type == "cuda",
            processes=self.processes,
            changes=changes,
            load=load,
            first_epoch=FirstEpoch(config.sample_by_error, pools) if config.sample_by_error.first_epoch else None,
        )

    def _pools(self, limits: Limits) -> dict[str, Pool]:
        config = self.config
        return build_pools(
            config.train,
            limits=limits,
            stream_window=config.stream_window,
            seed=self.seed,
            opened=self.opened,
            mix_temperature=config.mix_temperature,
            mix_by=config.mix_by,
            sampling=(config.sample_by_error, self.errors) if self.errors else None,
        )


def open_training_sources(
    config: DataConfig,
    *,
    processes: Processes,
    seed: int,
    resumed: Path | None = None,
    errors: ExpectedErrors | None = None,
) -> TrainingSources:
    """The sources of `data.train`; raises as `open_sources`.

    resumed: the directory of a run that goes on; None: of a new one. A run whose record counts no rows began before training set
    rows of other splits aside, so it goes on with all of them.
    errors: what the predictions of `data.sample_by_error` say; None: it is off. Those a run began with must stay.
    """
    if resumed is not None and errors is not None:
        _refuse_other_errors(read_run(resumed), errors)
    takes_all = resumed is not None and ROWS not in read_run(resumed)
    opened = open_sources(config.train, processes=processes, seed=seed, takes_all=takes_all)
    return TrainingSources(config, opened, processes, seed, takes_all, errors)


def _refuse_other_errors(record: Mapping[str, Any], errors: ExpectedErrors) -> None:
    before = record.get(ERRORS, {}).get("digest", errors.digest)
    if before != errors.digest:
        raise ConfigError(
            f"resume: data.sample_by_error.predictions={errors.path} does not say what it said when the run began, so that other "
            "clips would be drawn; restore it, or start a new run with model.path=CHECKPOINT"
        )


def open_dev_sets(
    config: DataConfig,
    collator: TrainingCollator,
    *,
    model_max_duration_s: float,
    max_utterances: int | None,
    say: Callable[[str], None],
    note: Callable[[str, Intake], None] = lambda name, intake: None,
) -> DevSets:
    """The dev utterances of each source of `data.dev` within the limits, evenly thinned to `max_utterances`.

    note: called with the name of each, and what became of its rows.

    Raises:
        ConfigError: a source is streamed; a dev set must be the same at every validation.
        DataError: a source cannot be read, or an utterance is over a limit.
    """
    limits, dev_sets = Limits(config, collator, model_max_duration_s=model_max_duration_s), DevSets()
    for name, source in config.dev.items():
        if source.streaming:
            raise ConfigError(f"data.dev.{name}.streaming=true: a dev set is read whole; set streaming=false")
        table = load_table(source, name, key=f"data.dev.{name}")
        note(f"dev.{name}", table.intake)
        utterances = limits(measure_durations(table), name)
        _require_languages(collator, utterances, f"data.dev.{name}")
        num_kept = min(len(utterances), max_utterances or len(utterances))
        dev_sets[name] = [utterances[i * len(utterances) // num_kept] for i in range(num_kept)]
    for line in limits.describe("data.dev"):
        say(line)
    return dev_sets


def _require_pools(collator: TrainingCollator, pools: Mapping[str, Pool]) -> None:
    for pool in _lists(pools):
        _require_languages(collator, pool.utterances, f"data.train.{pool.name.partition('/')[0]}")


def _require_languages(collator: TrainingCollator, utterances: Sequence[Utterance], where: str) -> None:
    """Refuse a source in a language the model cannot be taught, before the first step; a stream's rows are met in training."""
    collator.require_languages(set(languages_of(utterances)[0]) - {UNKNOWN}, where)


def record_rows(run_dir: Path, intakes: Mapping[str, Intake]) -> None:
    """Put into run.json what became of the rows of each source, beside what stands there of others; one process does."""
    known = read_run(run_dir).get(ROWS, {})
    record_in_run(run_dir, **{ROWS: known | {name: intake.record() for name, intake in intakes.items()}})


def record_errors(run_dir: Path, errors: ExpectedErrors | None) -> None:
    """Put into run.json by which predictions clips are drawn, if they are; one process does."""
    if errors is not None:
        told = {"predictions": errors.path, "num_clips": len(errors.percents), "digest": errors.digest}
        record_in_run(run_dir, **{ERRORS: told})


def record_sources(run_dir: Path, configs: Mapping[str, SourceConfig], pools: Mapping[str, Pool]) -> None:
    """Put into run.json what each source of training is, for those who are told of the model later: its id where it is a dataset
    of the Hub (no path of this machine), and the hours of one pass by declared language, within the limits; one process does.

    Hours are null where the source is streamed: what an epoch draws of it is not known before it is read.
    """
    records: dict[str, dict[str, Any]] = {}
    for name, config in configs.items():
        parts = [pool for pool in pools.values() if source_of(pool.name) == name]
        is_known = all(isinstance(pool, ListPool) for pool in parts)
        hours = _hours_by_language(part for part in parts if isinstance(part, ListPool)) if is_known else None
        records[name] = {"dataset": hub_dataset(config), "hours": hours}
    record_in_run(run_dir, sources=records)


def _hours_by_language(pools: Iterable[ListPool]) -> dict[str, float]:
    hours: dict[str, float] = {}
    for pool in pools:
        for language, seconds in seconds_by_language(pool.utterances).items():
            hours[language] = hours.get(language, 0.0) + seconds / 3600
    return {language: round(number, 4) for language, number in hours.items()}


def describe_pools(pools: Mapping[str, Pool]) -> list[str]:
    """Lines on what is in each, on their shares of an epoch, and on styles of writing that differ between them."""
    lines = [pool.describe() for pool in pools.values()]
    lists = _lists(pools)
    if shares := describe_shares(lists):
        lines.append(shares)
    remarks = style_remarks({pool.name: set_style(pool.sampled_texts()) for pool in lists})
    return lines + [f"note: {remark}" for remark in remarks]


def _describe_changes(changes: Changes, pools: Mapping[str, Pool]) -> list[str]:
    lists = {pool.name: pool.utterances for pool in _lists(pools)}
    return changes.describe(lists, is_streamed=len(lists) < len(pools))


def _lists(pools: Mapping[str, Pool]) -> list[ListPool]:
    return [pool for pool in pools.values() if isinstance(pool, ListPool)]
