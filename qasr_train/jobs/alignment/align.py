"""Owns the job of `recipes/align.py`: recordings with transcripts, or with what a model heard -> when each word was said.

Input: AlignConfig. Output in `out`: the words in each format, manifest.jsonl with them (to train or evaluate an aligner on),
doubtful.jsonl with the texts that are likely another recording's; exit status 1 where a recording could not be read, or its
prediction failed. What is aligned stands in work/ as it comes, so that the same command goes on after a stop, or writes other
formats without aligning again.
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from qasr_train.alignment.hearing import open_recogniser, recogniser_at
from qasr_train.alignment.remembered import Remembered
from qasr_train.alignment.text import Alignment, Hear, align_text
from qasr_train.audio.decode import SAMPLE_RATE_HZ
from qasr_train.data.feature_cache import sound_key
from qasr_train.data.workers import load_recording
from qasr_train.errors import AudioError, ConfigError, DataError, UserError
from qasr_train.files import FreeNames, write_rows, write_whole
from qasr_train.jobs.settings.align import IN_ONE_FILE, AlignConfig
from qasr_train.manifest import Utterance, findable_from_anywhere, write_manifest
from qasr_train.models.base import Aligner
from qasr_train.models.digest import checkpoint_digest
from qasr_train.models.families import load_aligner
from qasr_train.run.device import Machine, join_machine
from qasr_train.sources.source import load_utterances
from qasr_train.timed.base import TimedSegment
from qasr_train.timed.cues import SUBTITLES, laid_out
from qasr_train.timed.formats import FORMATS, write_timed
from qasr_train.transcription.predictions import load_predictions

MANIFEST, DOUBTFUL = "manifest.jsonl", "doubtful.jsonl"
WORK = "work"  # in `out`: what is aligned so far
EXIT_UNREADABLE = 1


@dataclass(frozen=True)
class Aligned:
    """An utterance, its text's alignment with times of the whole recording, and how long its part of that is."""

    utterance: Utterance
    alignment: Alignment
    duration_s: float

    def segment(self) -> TimedSegment:
        """The utterance as one stretch."""
        begin_s = self.utterance.start_s or 0.0
        return TimedSegment(
            begin_s,
            begin_s + self.duration_s,
            self.utterance.text or "",
            self.alignment.words,
            speaker=self.utterance.speaker or "",
            language=self.utterance.language,
        )


def align(config: AlignConfig) -> int:
    """Align as the config says; returns the exit status: EXIT_UNREADABLE where a text has no recording, or a recording no text.

    Raises:
        UserError: any mistake in config, source, predictions or checkpoint.
    """
    # 1 whatever can be refused before a weight is read
    failed = list[str]()
    utterances = _texts(config, failed)
    machine = join_machine(config.device, config.precision)
    remembered = _remembered(config, machine)

    # 2 every text with its recording
    aligner = load_aligner(config.model, device=machine.device, dtype=machine.dtype)
    _refuse_languages(aligner, utterances)
    hear = open_recogniser(config.recogniser, device=machine.device, dtype=machine.dtype)
    remembered.path.parent.mkdir(parents=True, exist_ok=True)
    with remembered:
        done = _Aligning(aligner, hear, remembered, config.min_confidence).all_of(utterances, failed)

    # 3 what came out
    _write(config, Path(config.out), done)
    _say(config, done, failed)
    return EXIT_UNREADABLE if failed else 0


def _texts(config: AlignConfig, failed: list[str]) -> list[Utterance]:
    """The utterances with the texts that are aligned; those whose prediction failed are added to `failed` instead.

    Raises:
        DataError: one has no text, or there is no prediction of its id.
    """
    utterances = load_utterances(config.source, "source", key="source")
    if config.predictions is not None:
        heard = {one.id: one for one in load_predictions(config.predictions).predictions}
        lacking = next((one.id for one in utterances if one.id not in heard), None)
        if lacking is not None:
            raise DataError(f"{config.predictions}: has no prediction of {lacking!r}; give those of this source")
        failed += [
            f"{one.id}: was not transcribed ({reason})" for one in utterances if (reason := heard[one.id].failed)
        ]
        utterances = [replace(one, text=heard[one.id].pred_text) for one in utterances if not heard[one.id].failed]
    without = next((one for one in utterances if one.text is None), None)
    if without is not None:
        raise DataError(
            f"{without.origin}: utterance {without.id!r} has no transcript to align; give one, or predictions=FILE"
        )
    return utterances


def _remembered(config: AlignConfig, machine: Machine) -> Remembered:
    """What earlier tries in `out` have aligned; named by all that decides a time besides recording and text.

    Raises:
        ConfigError: the folder holds something else, or was begun with another model or other settings.
    """
    recogniser = None if config.recogniser is None else recogniser_at(config.recogniser)
    models = [None if one is None else [repr(one), checkpoint_digest(one)] for one in (config.model, recogniser)]
    asked = [*models, config.min_confidence, str(machine.dtype)]
    name = f"words-{hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]}.jsonl"
    out = Path(config.out)
    begun = [path.name for path in (out / WORK).glob("words-*.jsonl")]
    if begun and begun != [name]:
        raise ConfigError(
            f"out={config.out}: was begun with another model, recogniser, precision or min_confidence; give another folder"
        )
    if not begun and out.exists() and any(out.iterdir()):
        raise ConfigError(f"out={config.out}: is not empty, and holds nothing of this job; give a new folder")
    return Remembered(out / WORK / name)


def _refuse_languages(aligner: Aligner, utterances: Sequence[Utterance]) -> None:
    known = set(aligner.languages)
    unknown = next((one for one in utterances if known and one.language and one.language not in known), None)
    if unknown is not None:
        raise DataError(
            f"{unknown.origin}: utterance {unknown.id!r} is {unknown.language}, and the aligner knows "
            f"{', '.join(aligner.languages)}; leave such rows out (source.only), or name another model"
        )


@dataclass(frozen=True)
class _Aligning:
    """Aligns utterances one by one, but for those that are remembered."""

    aligner: Aligner
    hear: Hear | None
    remembered: Remembered
    min_confidence: float

    def all_of(self, utterances: Sequence[Utterance], failed: list[str]) -> list[Aligned]:
        """Each utterance that can be read; of the others the reason is added to `failed`.

        Raises:
            DataError: a recording is longer than the aligner takes at once, and there is no recogniser.
            UserError: an interruption.
        """
        done = list[Aligned]()
        try:
            for utterance in tqdm(utterances, desc="align", unit="clip", dynamic_ncols=True):
                try:
                    done.append(self._of(utterance))
                except AudioError as error:
                    failed.append(str(error))
        except KeyboardInterrupt:
            raise UserError(
                f"interrupted after {len(done)} of {len(utterances)} texts were aligned; the same command goes on"
            ) from None
        return done

    def _of(self, utterance: Utterance) -> Aligned:
        recording = load_recording(utterance)
        text, language = utterance.text or "", utterance.language
        key = json.dumps([sound_key(utterance), text, language], ensure_ascii=False)
        key = hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()[:24]
        found = self.remembered.get(key)
        if found is None:
            try:
                found = align_text(
                    self.aligner, recording.waveform, text, language, hear=self.hear, min_confidence=self.min_confidence
                )
            except DataError as error:
                raise DataError(f"{utterance.origin}: utterance {utterance.id!r}: {error}") from None
            found = self.remembered.add(key, found)
        return Aligned(utterance, found.moved(utterance.start_s or 0.0), recording.num_samples / SAMPLE_RATE_HZ)


def _write(config: AlignConfig, out: Path, done: Sequence[Aligned]) -> None:
    for name in config.formats:
        form = FORMATS[name]
        if name in IN_ONE_FILE:
            text = "".join(form.text_of([one.segment()], one.utterance.id) for one in done)
            write_whole(out / f"words{form.suffix}", text)
            continue
        folder = out / name
        shutil.rmtree(folder, ignore_errors=True)  # of an earlier try, which may have known other texts
        folder.mkdir()
        names = FreeNames()
        for one in done:
            shown = [one.segment()]
            shown = laid_out(shown, config.subtitles.layout()) if name in SUBTITLES else shown
            file = names.take(one.utterance.id.replace("/", "_"))
            write_timed(folder / f"{file}{form.suffix}", shown, name, one.utterance.id)
    rows = [
        findable_from_anywhere(replace(one.utterance, words=one.alignment.words, duration_s=one.duration_s))
        for one in done
    ]
    write_manifest(out / MANIFEST, rows)
    doubtful = [one for one in done if one.alignment.doubt > config.max_doubt]
    write_rows(
        out / DOUBTFUL,
        (
            {
                "id": one.utterance.id,
                "doubt": round(one.alignment.doubt, 4),
                "num_unplaced": one.alignment.num_unplaced,
                "num_words": len(one.alignment.words),
                "text": one.utterance.text,
            }
            for one in sorted(doubtful, key=lambda one: -one.alignment.doubt)
        ),
    )


def _say(config: AlignConfig, done: Sequence[Aligned], failed: Sequence[str]) -> None:
    num_words = sum(len(one.alignment.words) for one in done)
    num_unplaced = sum(one.alignment.num_unplaced for one in done)
    print(f"{len(done)} texts, {num_words} words, {num_unplaced} of them not placed -> {config.out}")
    doubtful = [one for one in done if one.alignment.doubt > config.max_doubt]
    if doubtful:
        worst = max(doubtful, key=lambda one: one.alignment.doubt)
        print(
            f"{len(doubtful)} texts are likely those of other recordings, the surest that of {worst.utterance.id!r} (doubt "
            f"{worst.alignment.doubt:.2f}, over max_doubt={config.max_doubt:g}): see {Path(config.out) / DOUBTFUL}"
        )
    for reason in failed:
        print(f"not aligned: {reason}", file=sys.stderr)
