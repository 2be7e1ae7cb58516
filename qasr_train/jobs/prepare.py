"""Owns the job `prepare`: raw corpus -> `manifest.jsonl`, `rejects.jsonl`, summary and `audit.html` in the folder `out`.

Input: a `PrepareConfig`. Every recording is decoded once, in worker processes; what was done is remembered in `out/.prepare`,
so the same command goes on after an interruption, and a finished one runs again in seconds.
"""

import dataclasses
import json
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from qasr_train.audio.arrow import is_arrow_reference
from qasr_train.corpus.audit import audit_corpus
from qasr_train.corpus.audit_page import audit_page
from qasr_train.corpus.clips import Clip, find_duplicates, mend_transcripts, reject_unusable
from qasr_train.corpus.findings import Finding
from qasr_train.corpus.measurements import Measurements, utterance_key
from qasr_train.corpus.overlap import TEST_SPLIT, TestIndex, find_shared, shared_findings, shared_rejects
from qasr_train.corpus.recordings import check_recordings, flac_path
from qasr_train.corpus.splits import assign_splits, find_overlaps
from qasr_train.corpus.summary import Reject, summarize
from qasr_train.errors import DataError
from qasr_train.evaluation.honesty.wrong_references import plant_errors
from qasr_train.files import write_rows, write_whole
from qasr_train.jobs.settings.prepare import Duplicates, OverlapConfig, PlantConfig, PrepareConfig, SplitConfig
from qasr_train.manifest import Utterance, write_manifest
from qasr_train.sources.corpora.written import Layout, write_layouts
from qasr_train.sources.source import load_table
from qasr_train.sources.table import UtteranceTable
from qasr_train.text.normalize import DEFAULT_NORMALIZER, get_normalizer
from qasr_train.timed.base import TimedWord

MANIFEST, REJECTS, SUMMARY_JSON, SUMMARY_MD = "manifest.jsonl", "rejects.jsonl", "summary.json", "summary.md"
AUDIT, FLACS, CORRECTED = "audit.html", "audio", "corrected.jsonl"
NEW = "; if it is to be learned, name it in source.new_languages"  # of a language
log = logging.getLogger(__name__)


def prepare(config: PrepareConfig) -> None:
    """Check a corpus and write its manifest; prints the summary table last.

    Raises:
        DataError: the source is unusable, every clip was rejected, duplicates where none may be, an unusable `out`.
    """
    # 1. The rows.
    utterances = load_table(config.source, "prepare", is_one_split=False, takes_refused=True, key="source")
    test_rows = open_tests(config.overlap)
    # 2. The recordings: decoded once, remembered in the journal.
    out = claim_folder(config)
    settings = {"source.path": str(Path(config.source.path).resolve()), "convert": config.convert}
    flac_folder = out / FLACS if config.convert else None
    num_workers = (os.cpu_count() or 1) if config.num_workers is None else config.num_workers
    with Measurements(out / ".prepare" / "journal.jsonl", settings) as known:
        clips, rejects = check_recordings(utterances, known, flac_folder=flac_folder, num_workers=num_workers)
        tests = read_tests(test_rows, known, num_workers)
    rejects = [Reject.of(one.utterance, f"{one.reason}{NEW}") for one in utterances.intake.refused] + rejects
    # 3. Transcripts as they are wanted; what fits the limits, and is no duplicate.
    clips, without_text, mended = mend_transcripts(clips, config.mend)
    clips, too_bad = reject_unusable(clips, min_duration_s=config.min_duration_s, max_duration_s=config.max_duration_s)
    clips, duplicates = handle_duplicates(clips, config.duplicates)
    rejects = rejects + without_text + too_bad + (duplicates if config.duplicates is Duplicates.drop else [])
    clips, shared, findings = handle_shared(clips, tests, config.overlap)
    write_rejects(out / REJECTS, rejects := rejects + shared)
    refuse_nothing_left(clips, rejects, out)
    # 4. Splits.
    digests = [clip.digest for clip in clips]
    prepared = divide([finished(clip, config, out) for clip in clips], digests, config.split)
    # 5. What was found.
    write_manifests(out, planted(prepared, config.plant, out), config.also)
    stated_s = [clip.utterance.duration_s for clip in clips]
    summary = summarize(
        prepared,
        [clip.measured for clip in clips],
        stated_s,
        rejects,
        duplicates,
        find_overlaps(prepared, digests),
        utterances.intake,
        mended,
    )
    summary = replace(summary, with_tests=findings)
    write_whole(out / SUMMARY_JSON, json.dumps(dataclasses.asdict(summary), ensure_ascii=False, indent=1) + "\n")
    write_whole(out / SUMMARY_MD, summary.markdown())
    # 6. What a person should look at before training on it.
    audit = audit_corpus(prepared)
    write_whole(out / AUDIT, audit_page(summary, audit, {one.id: one for one in prepared}, out))
    print(summary.table(), *audit.remarks(), sep="\n", flush=True)
    print(f"\n{out / MANIFEST}: {len(prepared)} clips; {out / REJECTS}: {len(rejects)}; more in {out / AUDIT}")


def claim_folder(config: PrepareConfig) -> Path:
    """The folder `out`, made if missing; refuses one whose manifest is not of `prepare`, and one that cannot be written."""
    out = Path(config.out).expanduser()
    try:
        (out / ".prepare").mkdir(parents=True, exist_ok=True)
        has_journal = (out / ".prepare" / "journal.jsonl").exists()
        written = (MANIFEST, REJECTS, FLACS, *([CORRECTED] if config.plant.fraction else []))
        foreign = [name for name in written if (out / name).exists() and not has_journal]
        if foreign:
            (out / ".prepare").rmdir()
            raise DataError(f"out={config.out}: holds {foreign[0]} that prepare did not write; choose another folder")
        (out / ".prepare" / "writable").touch()
        (out / ".prepare" / "writable").unlink()
    except (NotADirectoryError, FileExistsError):
        raise DataError(f"out={config.out}: a file stands where the folder should be; choose another folder") from None
    except OSError as error:
        raise DataError(f"out={config.out}: cannot be written ({error.strerror}); choose another folder") from None
    return out


def handle_duplicates(clips: Sequence[Clip], duplicates: Duplicates) -> tuple[list[Clip], list[Reject]]:
    """(clips to keep, clips whose sound an earlier one has); with `keep` the second are among the first too."""
    unique, repeated = find_duplicates(clips)
    if repeated and duplicates is Duplicates.error:
        raise DataError(
            f"{repeated[0].origin}: {repeated[0].id} has the {repeated[0].reason} ({len(repeated)} such clips in all); "
            "remove them, or set duplicates=drop or keep"
        )
    return (list(clips) if duplicates is Duplicates.keep else unique), repeated


def open_tests(config: OverlapConfig) -> dict[str, UtteranceTable]:
    """The rows of every test set; raises DataError as `load_table`."""
    return {
        name: load_table(source, name, is_one_split=False, key=f"overlap.tests.{name}")
        for name, source in config.tests.items()
    }


def read_tests(tests: Mapping[str, UtteranceTable], known: Measurements, num_workers: int) -> dict[str, list[Clip]]:
    """The clips of every test set, decoded as those of the corpus are; what cannot be read is told, since it is not looked up.

    Raises:
        DataError: none of the clips of a set can be read.
    """
    read = {}
    for name, rows in tests.items():
        clips, unread = check_recordings(rows, known, flac_folder=None, num_workers=num_workers)
        if not clips:
            raise DataError(
                f"overlap.tests.{name}: none of its {len(rows)} clips can be read, the first: {unread[0].reason}"
            )
        if unread:
            first = unread[0].reason
            log.warning("test set %r: %d clips cannot be read and are not looked up (%s)", name, len(unread), first)
        read[name] = clips
    return read


def handle_shared(
    clips: Sequence[Clip], tests: Mapping[str, Sequence[Clip]], config: OverlapConfig
) -> tuple[list[Clip], list[Reject], list[Finding]]:
    """(clips to go on with, rejects, what to tell) of clips that are in a test set.

    Raises:
        DataError: there are some, and none may be.
    """
    if not tests:
        return list(clips), [], []
    index = TestIndex(config.by, config.num_words)
    for name, of_test in tests.items():
        index.add(name, of_test)
    kept, shared = find_shared(clips, index)
    rejects = shared_rejects(shared)
    if shared and config.then is Duplicates.error:
        raise DataError(
            f"{rejects[0].origin}: {rejects[0].id} {rejects[0].reason} ({len(rejects)} such clips in all); remove them, or set "
            "overlap.then=drop or keep"
        )
    is_dropped = config.then is Duplicates.drop
    findings = shared_findings([] if is_dropped else shared, {name: len(of_test) for name, of_test in tests.items()})
    return (kept, rejects, findings) if is_dropped else (list(clips), [], findings)


def write_rejects(path: Path, rejects: Sequence[Reject]) -> None:
    """One JSON line each: id, audio, origin, reason."""
    write_rows(path, map(dataclasses.asdict, rejects))


def refuse_nothing_left(clips: Sequence[Clip], rejects: Sequence[Reject], out: Path) -> None:
    """DataError where every clip was rejected; the manifest of an earlier run does not outlive that."""
    if clips:
        return
    for stale in (MANIFEST, SUMMARY_JSON, SUMMARY_MD, AUDIT):
        (out / stale).unlink(missing_ok=True)
    kinds = Counter(reject.kind for reject in rejects)
    kind, count = kinds.most_common(1)[0]
    example = next(reject for reject in rejects if reject.kind == kind)
    raise DataError(
        f"all {len(rejects)} clips were rejected, {count} of them like {example.id}: {example.reason}; "
        f"see {out / REJECTS}"
    )


def finished(clip: Clip, config: PrepareConfig, out: Path) -> Utterance:
    """The utterance as the manifest has it: measured, its audio converted or found from anywhere."""
    utterance, duration_s = clip.utterance, clip.measured.duration_s
    assert isinstance(utterance.audio, str)
    if config.convert:
        flac = flac_path(out / FLACS, utterance, utterance_key(utterance))
        return replace(
            utterance,
            audio=str(flac.relative_to(out)),
            start_s=None,
            end_s=None,
            channel=None,
            duration_s=duration_s,
            words=_of_the_clip(utterance),
        )
    if is_arrow_reference(utterance.audio):
        return replace(utterance, duration_s=duration_s)
    path = Path(os.path.abspath(utterance.audio))  # noqa: PTH100 - resolve() would follow links
    below = path.relative_to(out.absolute()) if path.is_relative_to(out.absolute()) else path
    return replace(utterance, audio=str(below), duration_s=duration_s)


def _of_the_clip(utterance: Utterance) -> tuple[TimedWord, ...]:
    """The words with times of the file that is cut out; one that began a little before it begins with it."""
    begin_s = utterance.start_s or 0.0

    def moved(at_s: float | None) -> float | None:
        return None if at_s is None else max(0.0, at_s - begin_s)

    return tuple(replace(word, start_s=moved(word.start_s), end_s=moved(word.end_s)) for word in utterance.words)


def write_manifests(out: Path, prepared: Sequence[Utterance], also: Sequence[Layout]) -> None:
    """manifest.jsonl, and the layouts of other tools that are asked for."""
    write_manifest(out / MANIFEST, prepared)
    for path in write_layouts(out, [findable(one, out) for one in prepared], also):
        log.info("also written: %s", path)


def findable(utterance: Utterance, out: Path) -> Utterance:
    """The utterance of a manifest in `out`, its path absolute: other tools have no folder where paths start."""
    if not isinstance(utterance.audio, str) or is_arrow_reference(utterance.audio):
        return utterance
    return replace(utterance, audio=str((out / utterance.audio).absolute()))


def planted(prepared: list[Utterance], config: PlantConfig, out: Path) -> list[Utterance]:
    """The rows to hand out, some with a wrong word; what was said in them goes to corrected.jsonl. Untouched where that is off.

    Raises:
        DataError: no row can hold a planted word.
    """
    if config.fraction == 0:
        return prepared
    tests = [one for one in prepared if one.split == TEST_SPLIT] or [one for one in prepared if one.split is None]
    texts = plant_errors(tests, config.fraction, config.seed, get_normalizer(DEFAULT_NORMALIZER))
    if not texts:
        raise DataError(
            f"plant.fraction={config.fraction:g}: in none of the {len(tests)} rows of the split test a word can be planted; they "
            "need four words or more, of a language written with spaces, and words that differ"
        )
    write_manifest(out / CORRECTED, tests)
    log.warning(
        "%d of %d test rows of the manifest hold a planted word; keep %s", len(texts), len(tests), out / CORRECTED
    )
    return [replace(one, text=texts.get(one.id, one.text)) for one in prepared]


def divide(utterances: list[Utterance], digests: list[str], config: SplitConfig) -> list[Utterance]:
    """The utterances with their splits; untouched where no share is asked for."""
    if config.dev_fraction == 0 and config.test_fraction == 0:
        return utterances
    if all(utterance.split is not None for utterance in utterances):
        stated = Counter(utterance.split for utterance in utterances)
        log.warning(
            "split.dev_fraction and split.test_fraction change nothing: every row names a split (%s); source.columns.split= "
            "(empty) leaves what they name aside",
            ", ".join(f"{split} {count}" for split, count in sorted(stated.items())),
        )
    splits = assign_splits(
        utterances,
        digests,
        dev_fraction=config.dev_fraction,
        test_fraction=config.test_fraction,
        by=config.by,
        seed=config.seed,
    )
    return [replace(utterance, split=split) for utterance, split in zip(utterances, splits, strict=True)]
