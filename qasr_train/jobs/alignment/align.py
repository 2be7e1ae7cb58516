"""Owns the job of `recipes/align.py`: recordings with transcripts, or with what a model heard -> when each word was said.

Input: AlignConfig. Output in `out`: the words in each format, manifest.jsonl with them (to train or evaluate an aligner on),
doubtful.jsonl with the texts that are likely another recording's; exit status 1 where a recording could not be read, or its
prediction failed. What is aligned stands in work/ as it comes, so that the same command goes on after a stop, or writes other
formats without aligning or decoding again. Nothing of what is aligned stays in memory but where it stands in work/.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from qasr_train.alignment.hearing import open_recogniser, recogniser_at
from qasr_train.alignment.output import DOUBTFUL, Aligned, AlignedFiles
from qasr_train.alignment.remembered import Remembered
from qasr_train.alignment.text import Alignment, Hear, align_text
from qasr_train.data.feature_cache import sound_key
from qasr_train.data.workers import load_recording
from qasr_train.errors import AudioError, ConfigError, DataError, UserError
from qasr_train.jobs.settings.align import AlignConfig
from qasr_train.manifest import Utterance
from qasr_train.models.base import Aligner
from qasr_train.models.digest import checkpoint_digest
from qasr_train.models.families import load_aligner
from qasr_train.run.device import Machine, join_machine
from qasr_train.sources.source import load_table
from qasr_train.sources.table import UtteranceTable
from qasr_train.transcription.predictions import load_predictions

WORK = "work"  # in `out`: what is aligned so far
EXIT_UNREADABLE = 1


def align(config: AlignConfig) -> int:
    """Align as the config says; returns the exit status: EXIT_UNREADABLE where a text has no recording, or a recording no text.

    Raises:
        UserError: any mistake in config, source, predictions or checkpoint; an interruption.
    """
    # 1 whatever can be refused before a weight is read
    texts = _open_texts(config)
    failed = texts.failures()
    machine = join_machine(config.device, config.precision)
    remembered = _remembered(config, machine)

    # 2 every text with its recording
    aligner = load_aligner(config.model, device=machine.device, dtype=machine.dtype)
    texts.refuse_languages(aligner.languages)
    hear = open_recogniser(config.recogniser, device=machine.device, dtype=machine.dtype)
    remembered.path.parent.mkdir(parents=True, exist_ok=True)
    layout = config.subtitles.layout()
    with remembered, AlignedFiles(Path(config.out), config.formats, layout, config.max_doubt) as files:
        try:
            for one in _Aligning(aligner, hear, remembered, config.min_confidence).all_of(texts, failed):
                files.add(one)
        except KeyboardInterrupt:
            raise UserError(
                f"interrupted after {files.num_texts} of {len(texts)} texts were aligned; the same command goes on"
            ) from None

    # 3 what came out
    _say(config, files, failed)
    return EXIT_UNREADABLE if failed else 0


@dataclass(frozen=True)
class _Texts:
    """The utterances of a source with the texts that are aligned; those whose prediction failed are left out.

    heard: of each id the text (None: it failed) and why it failed; None: the transcripts are aligned.
    """

    table: UtteranceTable
    heard: dict[str, tuple[str | None, str]] | None

    def __iter__(self) -> Iterator[Utterance]:
        for one in self.table:
            text = one.text if self.heard is None else self.heard[one.id][0]
            if text is not None:
                yield replace(one, text=text)

    def __len__(self) -> int:
        return len(self.table) - len(self.failures())

    def failures(self) -> list[str]:
        """A sentence for each that was not transcribed."""
        if self.heard is None:
            return []
        told = ((id, *self.heard[id]) for id in self.table.column("id").to_pylist())
        return [f"{id}: was not transcribed ({reason})" for id, text, reason in told if text is None]

    def refuse_languages(self, known: Sequence[str]) -> None:
        """DataError where a text is in a language the aligner does not know. known: () where it states none."""
        unknown = next((one for one in self if known and one.language and one.language not in known), None)
        if unknown is not None:
            raise DataError(
                f"{unknown.origin}: utterance {unknown.id!r} is {unknown.language}, and the aligner knows "
                f"{', '.join(known)}; leave such rows out (source.only), or name another model"
            )


def _open_texts(config: AlignConfig) -> _Texts:
    """What is to be aligned.

    Raises:
        DataError: one has no text, or there is no prediction of its id.
    """
    table = load_table(config.source, "source", key="source")
    if config.predictions is None:
        without = next((one for one in table if one.text is None), None)
        if without is not None:
            raise DataError(
                f"{without.origin}: utterance {without.id!r} has no transcript to align; give one, or predictions=FILE"
            )
        return _Texts(table, None)
    predictions = load_predictions(config.predictions).predictions
    heard = {one.id: (None if one.failed else one.pred_text, one.failed or "") for one in predictions}
    lacking = next((one for one in table.column("id").to_pylist() if one not in heard), None)
    if lacking is not None:
        raise DataError(f"{config.predictions}: has no prediction of {lacking!r}; give those of this source")
    return _Texts(table, heard)


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


@dataclass(frozen=True)
class _Aligning:
    """Aligns utterances one by one, but for those that are remembered."""

    aligner: Aligner
    hear: Hear | None
    remembered: Remembered
    min_confidence: float

    def all_of(self, texts: _Texts, failed: list[str]) -> Iterator[Aligned]:
        """Each text whose recording can be read, as it is aligned; of the others the reason is added to `failed`.

        Raises:
            DataError: a recording is longer than the aligner takes at once, and there is no recogniser.
        """
        for utterance in tqdm(texts, desc="align", unit="clip", dynamic_ncols=True):
            try:
                yield self._of(utterance)
            except AudioError as error:
                failed.append(str(error))

    def _of(self, utterance: Utterance) -> Aligned:
        key = json.dumps([sound_key(utterance), utterance.text, utterance.language], ensure_ascii=False)
        key = hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()[:24]
        found = self.remembered.get(key)
        if found is None or found.duration_s is None:
            found = self.remembered.add(key, self._aligned(utterance))
        assert found.duration_s is not None, "add keeps it"
        return Aligned(utterance, found.moved(utterance.start_s or 0.0), found.duration_s)

    def _aligned(self, utterance: Utterance) -> Alignment:
        recording = load_recording(utterance)
        try:
            return align_text(
                self.aligner,
                recording.waveform,
                utterance.text or "",
                utterance.language,
                hear=self.hear,
                min_confidence=self.min_confidence,
            )
        except DataError as error:
            raise DataError(f"{utterance.origin}: utterance {utterance.id!r}: {error}") from None


def _say(config: AlignConfig, files: AlignedFiles, failed: Sequence[str]) -> None:
    print(f"{files.num_texts} texts, {files.num_words} words, {files.num_unplaced} of them not placed -> {config.out}")
    if files.doubtful:
        worst = max(files.doubtful, key=lambda row: row["doubt"])
        print(
            f"{len(files.doubtful)} texts are likely those of other recordings, the surest that of {worst['id']!r} (doubt "
            f"{worst['doubt']:.2f}, over max_doubt={config.max_doubt:g}): see {Path(config.out) / DOUBTFUL}"
        )
    for reason in failed:
        print(f"not aligned: {reason}", file=sys.stderr)
