"""Owns the job of `recipes/honesty.py`: whether a model knows a test set by heart, by probes of what it could not have heard.

Input: a model, a test set, its right texts where the published ones are wrong, and a baseline. Output in run_dir: an evaluation
of the test set as it is (heard/) and with masked numbers (masked/), honesty.json, honesty.html. Exit status 1 where a probe
lights up.
"""

from dataclasses import replace
from pathlib import Path

from qasr_train.errors import DataError
from qasr_train.evaluation.honesty.masked_numbers import NumberMask, has_number
from qasr_train.evaluation.honesty.page import honesty_page, honesty_row, honesty_summary
from qasr_train.evaluation.honesty.probes import Heard, Light, ProbeResult, Rules, run_probes
from qasr_train.evaluation.results import evaluate_sets
from qasr_train.evaluation.scoring.metrics import Resampling
from qasr_train.evaluation.scoring.run_files import is_scored, load_run, write_text
from qasr_train.evaluation.scoring.score import ScoredRun
from qasr_train.evaluation.suites.suite import load_suite
from qasr_train.jobs.settings.evaluate import SCORING_KEYS
from qasr_train.jobs.settings.trust.honesty import HEARD, MASKED, HonestyConfig
from qasr_train.run.device import Machine, join_machine
from qasr_train.run.directory import check_same_config, has_record, run_directory, write_record
from qasr_train.run.processes import refuse_several_processes
from qasr_train.sources.settings import SourceConfig
from qasr_train.sources.source import load_table
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.run import TranscriptionRun
from qasr_train.transcription.sets import UtteranceSet
from qasr_train.transcription.settings import CommandConfig

# What is judged anew from transcripts that are there.
MAY_CHANGE_ON_RESUME = (
    "resume",
    "baseline",
    "chance_percent",
    "corrected",
    "resample_by",
    "seed",
    "decode.num_workers",
)


def run(config: HonestyConfig) -> int:
    """Probe, print, and say by the exit status whether a probe lights up; raises as `honesty`."""
    results = honesty(config)
    print(honesty_summary(results, config.run_dir))
    return int(any(one.light is Light.lit for one in results))


def honesty(config: HonestyConfig) -> list[ProbeResult]:
    """Transcribe the test set twice, and judge.

    Raises:
        ConfigError: several processes were launched; nothing of `corrected` fits. UserError: as evaluate.
    """
    # 1 what can be seen to be wrong before a weight is read
    refuse_several_processes("honesty")
    if config.resume:
        check_same_config(Path(config.run_dir), config, ignore=MAY_CHANGE_ON_RESUME)
    [as_it_is] = load_suite(config.evaluation(HEARD, config.run_dir, resume=False).suite, key="source")
    right = _right_texts(config, as_it_is)
    machine = join_machine(config.device, config.precision)

    # 2 the transcripts, and what they say
    with run_directory(config.run_dir, config, "honesty", resume=config.resume) as run_dir:
        heard = _evaluated(config, machine, run_dir / HEARD, as_it_is)
        numbers = _with_numbers(as_it_is)
        masked = _evaluated(config, machine, run_dir / MASKED, numbers) if numbers.utterances else None
        rules = Rules(
            get_normalizer(config.normalizer),
            Resampling(resample_by=config.resample_by),
            config.chance_percent,
            config.seed,
        )
        results = run_probes(Heard(heard, masked), _baseline(config), right, rules)
        model = config.model.command if isinstance(config.model, CommandConfig) else str(config.model.path)
        write_record(run_dir / "honesty.json", honesty_row(results, model, config.baseline))
        write_text(run_dir / "honesty.html", honesty_page(results, model, config.baseline))
    return results


def _right_texts(config: HonestyConfig, published: UtteranceSet) -> dict[str, str] | None:
    """id -> what was said, of the rows that both have."""
    if config.corrected is None:
        return None
    rows = list(load_table(SourceConfig(path=config.corrected), "corrected", is_one_split=False, key="corrected"))
    texts = {row.id: row.text for row in rows if row.text is not None}
    right = {one.id: texts[one.id] for one in published.utterances if one.id in texts}
    if not right:
        raise DataError(
            f"corrected={config.corrected}: none of its {len(rows)} ids is one of source.path={config.source.path}, the "
            f"first there is {published.utterances[0].id!r}; give the same rows with what was said"
        )
    if all(right.get(one.id, one.text) == one.text for one in published.utterances):
        raise DataError(
            f"corrected={config.corrected}: all its texts are those of the source, so nothing is known to be wrong"
        )
    return right


def _with_numbers(one: UtteranceSet) -> UtteranceSet:
    """The utterances whose number can be masked, under the mask."""
    able = [row for row in one.utterances if has_number(row)]
    return replace(one, name=MASKED, utterances=able, change=NumberMask())


def _evaluated(config: HonestyConfig, machine: Machine, folder: Path, one: UtteranceSet) -> ScoredRun:
    """The evaluation of a part, made or gone on with unless that is done."""
    if is_scored(folder):
        return load_run(folder)
    evaluation = config.evaluation(one.name, str(folder), resume=has_record(folder))
    scored = evaluate_sets(
        TranscriptionRun(evaluation, [one], machine, "evaluate", SCORING_KEYS),
        evaluation.scoring(),
        evaluation.tracking,
    )
    assert scored is not None, "honesty is one process"
    return scored


def _baseline(config: HonestyConfig) -> Heard | None:
    """The runs of the baseline; raises DataError where they cannot be read."""
    if config.baseline is None:
        return None
    folder = Path(config.baseline)
    return Heard(load_run(folder / HEARD), load_run(folder / MASKED) if is_scored(folder / MASKED) else None)
