"""Owns what an aligner is given and what it is taught: sound, words, two slots behind each, and the slots' numbers as labels.

Input: recordings with words. Output: a padded `Batch`. A label stands at the slot that is to name it and is not shifted; slots
alone are supervised (Qwen3-ASR technical report, arXiv 2601.18220). CPU only, picklable.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from transformers import Qwen3ASRProcessor

from qasr_train.batch import IGNORED, Batch, Recording
from qasr_train.errors import ConfigError, DataError
from qasr_train.manifest import Utterance
from qasr_train.models.blocks.byte_level import token_bytes
from qasr_train.models.blocks.log_mel import LogMel
from qasr_train.models.blocks.rows import pad_labelled
from qasr_train.models.blocks.sound import Sound
from qasr_train.models.qwen3_aligner.words import Unit, split_units

TIMESTAMP = "<timestamp>"


@dataclass(frozen=True, slots=True)
class TimedUnit:
    """A unit with when it begins and ends, seconds from the clip's start; None where that is not known.

    word: which of the utterance's words it is of.
    """

    unit: Unit
    start_s: float | None
    end_s: float | None
    word: int = 0


class Qwen3AlignerCollator:
    """Collates recordings for one processor (tokenizer, feature extractor, how long a slot is).

    Raises:
        ValueError: the tokenizer lacks one of the model's special tokens.
    """

    windows_s = ((1.0, 0.0),)
    max_target_tokens = None

    def __init__(
        self,
        processor: Qwen3ASRProcessor,
        *,
        num_slots: int,
        languages: Collection[str],
        makes_features: bool = True,
        makes_prompt_features: bool = True,
    ) -> None:
        """num_slots: the model has. languages: it knows or learns. The others: as `Qwen3ASRCollator` has them."""
        self.tokenizer = processor.tokenizer
        self.sound = Sound(processor.feature_extractor)
        self.slot_s = processor.timestamp_segment_time / 1000
        self.num_slots, self.languages = num_slots, tuple(languages)
        self.makes_features, self.makes_prompt_features = makes_features, makes_prompt_features
        self.audio_id, self.slot_id = self._special("<|audio_pad|>"), self._special(TIMESTAMP)
        self.pad_id = self._special("<|endoftext|>")
        self._start_id, self._end_id = self._special("<|audio_start|>"), self._special("<|audio_end|>")

    @property
    def log_mel(self) -> LogMel:
        """Makes the features of a clip."""
        return self.sound.log_mel

    def for_training(self, recordings: Sequence[Recording]) -> Batch:
        """Sound and words of every recording, padded on the right; labels at the slots whose time is known.

        Raises:
            DataError: an utterance has no words with times, or one that lies past the last slot (names its id and origin).
        """
        rows = [timed_units(one.utterance) for one in recordings]
        return self._collate(recordings, rows, [one.slotted for one in recordings], supervised=True)

    def for_alignment(self, waveform: np.ndarray, units: Sequence[Unit]) -> Batch:
        """A batch of one clip, float32 [S], and its units, with slots behind each; their labels are numbers that say nothing."""
        clip = Recording(Utterance(id="clip", audio="clip"), np.asarray(waveform, dtype=np.float32))
        return self._collate([clip], [[TimedUnit(unit, 0.0, 0.0) for unit in units]], [None], supervised=False)

    def num_target_tokens(self, utterance: Utterance) -> int:
        """Slots of an utterance whose times are known."""
        units = timed_units(utterance)
        return sum((one.start_s is not None) + (one.end_s is not None) for one in units)

    def require_languages(self, languages: Collection[str], where: str) -> None:
        """Refuse languages that are neither the aligner's nor named as new (ConfigError)."""
        for name in languages:
            if name not in self.languages:
                raise ConfigError(
                    f"{where}: {name} is not one of the aligner's languages ({', '.join(self.languages)}); to teach it, set "
                    f"model.new_languages=[{name}]"
                )

    def token_bytes(self, token_id: int) -> bytes:
        """One token for reading, as UTF-8 of which it may hold a part of a letter; special ones by their names."""
        return token_bytes(self.tokenizer, token_id)

    def with_features(self, batch: Batch) -> Batch:
        """The batch with the log-mel of its `waveforms`, made where they are; any other batch as it is."""
        return self.sound.with_features(batch)

    def _collate(
        self,
        recordings: Sequence[Recording],
        rows: Sequence[Sequence[TimedUnit]],
        slotted: Sequence[tuple[bool, ...] | None],
        *,
        supervised: bool,
    ) -> Batch:
        encoded = iter(self._encode([one.unit.spoken for row in rows for one in row]))
        sequences = []
        positions = self.sound.num_positions(recordings)
        for recording, audio, row, chosen in zip(recordings, positions, rows, slotted, strict=True):
            ids = [self._start_id, *[self.audio_id] * audio, self._end_id]
            labels = [IGNORED] * len(ids)
            for one in row:
                word = next(encoded)
                slots = self._slots(one, recording) if chosen is None or chosen[one.word] else []
                ids += [*word, *[self.slot_id] * len(slots)]
                labels += [*[IGNORED] * len(word), *slots]
            sequences.append((ids, labels))
        input_ids, attention_mask, labels_of_all = pad_labelled(sequences, self.pad_id)
        makes_features = self.makes_features if supervised else self.makes_prompt_features
        return Batch(
            ids=[one.utterance.id for one in recordings],
            input_ids=input_ids,
            attention_mask=attention_mask,
            labels=labels_of_all,
            **self.sound.fields(recordings, makes_features=makes_features),
        )

    def _slots(self, one: TimedUnit, recording: Recording) -> list[int]:
        """The numbers of the slots of a unit's start and end, IGNORED where it is not known."""
        numbers = []
        for at_s in (one.start_s, one.end_s):
            number = IGNORED if at_s is None else int(max(0.0, at_s) / self.slot_s)
            if number >= self.num_slots:
                utterance = recording.utterance
                raise DataError(
                    f"{utterance.origin}: utterance {utterance.id!r} has {one.unit.shown!r} at {at_s:.1f} s, and the aligner has "
                    f"slots up to {self.num_slots * self.slot_s:g} s; cut the clip"
                )
            numbers.append(number)
        return numbers

    def _special(self, token: str) -> int:
        token_id = self.tokenizer.backend_tokenizer.token_to_id(token)  # get_vocab() copies 150,000 entries for it
        if token_id is None:
            raise ValueError(f"the tokenizer has no token {token!r}; an aligner's tokenizer has it")
        return int(token_id)

    def _encode(self, texts: list[str]) -> list[list[int]]:
        # Text is data: "<timestamp>" inside a transcript must not become a slot.
        return self.tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"] if texts else []


def timed_units(utterance: Utterance) -> list[TimedUnit]:
    """The units of an utterance's words with their times, counted from the start of its part of the recording.

    Of a word that is several units, the first has its start and the last its end. No words at all are those of silence.

    Raises:
        DataError: there is a transcript and no word of it has a time.
    """
    words = utterance.words
    if utterance.text and not any(word.start_s is not None or word.end_s is not None for word in words):
        raise DataError(
            f"{utterance.origin}: utterance {utterance.id!r} states no times of its words; an aligner learns from a column "
            "`words` of objects with text, start and end (docs/alignment.md)"
        )
    begin_s = utterance.start_s or 0.0
    timed = []
    for number, word in enumerate(words):
        units = split_units(word.text, utterance.language)
        for place, unit in enumerate(units):
            start_s = word.start_s if place == 0 else None
            end_s = word.end_s if place == len(units) - 1 else None
            start_s, end_s = (None if at is None else at - begin_s for at in (start_s, end_s))
            timed.append(TimedUnit(unit, start_s, end_s, word=number))
    return timed
