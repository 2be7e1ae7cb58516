"""Owns turning utterances into predictions: batches by padded seconds, audio decoded ahead, long audio cut, time measured.

Input: a loaded Recogniser and utterances. Output: `Prediction`s, batch by batch (`transcribe_batches`) or all in the order
of the utterances (`transcribe_utterances`, which training calls for its dev set).
"""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from qasr_train.audio.decode import SAMPLE_RATE_HZ
from qasr_train.batch import Recording
from qasr_train.data.buckets import sorted_batches
from qasr_train.errors import AudioError, ConfigError, DataError
from qasr_train.manifest import Utterance
from qasr_train.models.base import Hypothesis, Recogniser, RowDecoder, confidence_of
from qasr_train.models.blocks.greedy import token_limit
from qasr_train.models.blocks.joined_text import join_pieces, join_texts
from qasr_train.models.settings import Capability
from qasr_train.run.processes import Processes
from qasr_train.streaming.session import open_stream
from qasr_train.streaming.shown import Shown, Streamed
from qasr_train.transcription.long_audio import overlaps_of, split_at_silences
from qasr_train.transcription.plan import PlannedBatch, load_ahead, plan_transcription, too_long_text
from qasr_train.transcription.predictions import Prediction
from qasr_train.transcription.prompts import PromptForm, prompted
from qasr_train.transcription.sets import UtteranceSet
from qasr_train.transcription.settings import Decoding, LongAudio

logger = logging.getLogger(__name__)


def transcribe_utterances(
    model: Recogniser, utterances: Sequence[Utterance], decoding: Decoding, processes: Processes, set_name: str
) -> list[Prediction]:
    """Transcripts of the utterances, in their order; of this process's share only where several work.

    Args:
        model: a loaded recogniser, on any device.
        processes: among which the batches are shared.
        set_name: what predictions and messages call the utterances; "": nothing.

    Raises:
        DataError: too many recordings fail, or one is too long where `long_audio` is "error".
        ConfigError: the model cannot be told a language or a context; one clip alone exhausts the GPU's memory.
    """
    share = processes.share(plan_transcription(utterances, decoding))
    batches = transcribe_batches(model, UtteranceSet(set_name, utterances), share, decoding)
    failures = FailureCount(set_name, len(utterances), decoding.max_failed_fraction)
    by_index: dict[int, Prediction] = {}
    for batch, predictions in zip(share, batches, strict=True):
        by_index.update(zip(batch.indices, predictions, strict=True))
        failures.add(predictions)
    return [by_index[index] for index in sorted(by_index)]


def transcribe_batches(
    model: Recogniser, one: UtteranceSet, batches: Sequence[PlannedBatch], decoding: Decoding
) -> Iterator[list[Prediction]]:
    """The predictions of each planned batch of a set, in the batch's order, as soon as it is done.

    A recording that cannot be decoded gives a prediction with `failed` set to the reason. `time_s` is the seconds from
    waveforms to texts (features, transfer, generation; device synchronised) divided by the rows of the pass, as the
    leaderboard has it; decoding and resampling of audio happen before, in threads.

    Raises:
        ConfigError: the model cannot be told a language or a context; one clip alone exhausts the GPU's memory.
        DataError: a clip turns out longer than a pass takes where `long_audio` is "error".
    """
    _check_capabilities(model, one.utterances, batches, decoding.use_context)
    decoder = _Decoder(model, decoding)
    for batch, loaded in load_ahead(one, batches, decoding.num_workers):
        predictions = decoder.transcribe([one.utterances[i] for i in batch.indices], loaded, batch.language)
        yield [one.placed(prediction) for prediction in predictions]


class FailureCount:
    """Counts recordings that could not be transcribed and stops past a share of all."""

    def __init__(self, set_name: str, num_utterances: int, max_failed_fraction: float) -> None:
        self.set_name, self.num_utterances, self.max_failed_fraction = set_name, num_utterances, max_failed_fraction
        self.reasons: list[str] = []

    def add(self, predictions: Iterable[Prediction]) -> None:
        """Count the failed ones; raises DataError as `add_reasons`."""
        self.add_reasons([prediction.failed for prediction in predictions if prediction.failed])

    def add_reasons(self, reasons: Iterable[str]) -> None:
        """Count failures by their reasons.

        Raises:
            DataError: they are more than the share allowed; names the first reason.
        """
        self.reasons += reasons
        if len(self.reasons) > self.max_failed_fraction * self.num_utterances:
            where = f"set {self.set_name!r}: " if self.set_name else ""
            raise DataError(
                f"{where}{len(self.reasons)} of {self.num_utterances} recordings could not be transcribed, more than the "
                f"share of {self.max_failed_fraction:g} that decode.max_failed_fraction allows; the first: {self.reasons[0]}"
            )


class _Decoder:
    """Runs a model over loaded waveforms."""

    def __init__(self, model: Recogniser, decoding: Decoding) -> None:
        self.model, self.decoding = model, decoding
        parameter = next(model.module.parameters(), None)
        self.device = torch.device("cpu") if parameter is None else parameter.device

    def transcribe(
        self, utterances: Sequence[Utterance], loaded: Sequence[np.ndarray | AudioError], language: str | None
    ) -> list[Prediction]:
        """One prediction an utterance, of its pieces' texts where it had to be cut."""
        if self.decoding.streaming is not None:
            return [self._streamed(*one, language) for one in zip(utterances, loaded, strict=True)]
        longest_s, long_audio = self.decoding.max_duration_s, self.decoding.long_audio
        pieces: list[Recording] = []
        ranges: dict[int, list[tuple[int, int]]] = {}
        reasons: dict[int, str] = {}
        for row, (utterance, waveform) in enumerate(zip(utterances, loaded, strict=True)):
            if isinstance(waveform, AudioError):
                reasons[row] = str(waveform)
                continue
            duration_s = len(waveform) / SAMPLE_RATE_HZ
            if duration_s > longest_s and long_audio is not LongAudio.split:
                reasons[row] = too_long_text(utterance, duration_s, longest_s)
                if long_audio is LongAudio.error:
                    raise DataError(reasons[row])
                continue
            ranges[row] = split_at_silences(waveform, max_duration_s=longest_s, overlap_s=self.decoding.overlap_s)
            pieces += _cut(utterance, waveform, ranges[row])
        heard = iter(self._decode(pieces, language))
        return [
            _prediction(
                utterance,
                [next(heard) for _ in ranges.get(row, [])],
                ranges.get(row, []),
                is_told=language is not None,
                decoding=self.decoding,
                failed=reasons.get(row),
            )
            for row, utterance in enumerate(utterances)
        ]

    def _streamed(self, utterance: Utterance, loaded: np.ndarray | AudioError, language: str | None) -> Prediction:
        """The prediction of a recording that is heard as it comes; windows of it are its pieces."""
        decoding, is_told = self.decoding, language is not None
        if isinstance(loaded, AudioError):
            return _prediction(utterance, [], [], is_told=is_told, decoding=decoding, failed=str(loaded))
        assert decoding.streaming is not None
        form = prompted(Recording(utterance, loaded), decoding.prompt, use_context=decoding.use_context)
        session = open_stream(
            self.model,
            decoding.streaming,
            language=language,
            context=(utterance.context or "") if decoding.use_context else "",
            has_system_turn=form.has_system_turn,
            max_new_tokens=decoding.max_new_tokens,
            engine=decoding.engine,
        )
        try:
            updates = [*session.feed(loaded), session.finish()]
        except torch.OutOfMemoryError:
            raise ConfigError(
                f"utterance {utterance.id!r}: a window of {decoding.streaming.window_s:g} s does not fit into the GPU's memory; "
                "lower decode.streaming.window_s"
            ) from None
        seconds = sum(update.compute_s for update in updates) / max(1, len(session.finals))
        prediction = _prediction(
            utterance,
            [(said, seconds) for said, _ in session.finals],
            [span for _, span in session.finals],
            is_told=is_told,
            decoding=decoding,
            failed=None,
        )
        words = tuple(word.moved(-(utterance.start_s or 0.0)) for word in utterance.words)
        shown = tuple(Shown(one.heard_s, one.text, one.num_stable) for one in updates)
        return replace(prediction, streamed=Streamed(shown, words))

    def _decode(self, recordings: list[Recording], language: str | None) -> list[tuple[Hypothesis, float]]:
        """(hypothesis, its share of the inference time in seconds) of each, in passes planned by their real lengths."""
        lengths_s = [len(recording.waveform) / SAMPLE_RATE_HZ for recording in recordings]
        heard: dict[int, tuple[Hypothesis, float]] = {}
        for rows in sorted_batches(lengths_s, self.decoding.budget) if recordings else []:
            rows = sorted(rows)
            heard.update(zip(rows, self._fit([recordings[row] for row in rows], language), strict=True))
        return [heard[row] for row in range(len(recordings))]

    def _fit(self, recordings: list[Recording], language: str | None) -> list[tuple[Hypothesis, float]]:
        """One pass, or two of half the rows where it does not fit into the GPU's memory."""
        try:
            return self._pass(recordings, language)
        except torch.OutOfMemoryError:
            pass  # handled outside, where the failed pass no longer holds its tensors
        torch.cuda.empty_cache()
        longest_s = max(len(recording.waveform) for recording in recordings) / SAMPLE_RATE_HZ
        if len(recordings) == 1:
            raise ConfigError(
                f"utterance {recordings[0].utterance.id!r} of {longest_s:.1f} s does not fit into the GPU's memory by "
                f"itself; lower decode.max_duration_s={self.decoding.max_duration_s:g} so that it is cut at silences"
            )
        logger.warning(
            "a batch of %d clips up to %.1f s does not fit into the GPU's memory and is halved; lower batch_seconds=%g",
            len(recordings),
            longest_s,
            self.decoding.budget.seconds,
        )
        half = len(recordings) // 2
        return self._fit(recordings[:half], language) + self._fit(recordings[half:], language)

    def _pass(self, recordings: list[Recording], language: str | None) -> list[tuple[Hypothesis, float]]:
        most = [self.decoding.max_new_tokens or token_limit(len(one.waveform) / SAMPLE_RATE_HZ) for one in recordings]
        self._synchronize()
        started_s = time.perf_counter()
        use_context = self.decoding.use_context
        recordings = [prompted(one, self.decoding.prompt, use_context=use_context) for one in recordings]
        batch = self.model.collator.for_transcription(recordings, language=language, use_context=use_context)
        batch = batch.to(self.device)
        if isinstance(self.model, RowDecoder):
            hypotheses = self.model.transcribe_rows(batch, max_new_tokens=most, engine=self.decoding.engine)
        else:
            hypotheses = self.model.transcribe(batch, max_new_tokens=max(most))
        self._synchronize()
        seconds_a_row = (time.perf_counter() - started_s) / len(recordings)
        return [(hypothesis, seconds_a_row) for hypothesis in hypotheses]

    def _synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _prediction(
    utterance: Utterance,
    heard: Sequence[tuple[Hypothesis, float]],
    ranges: Sequence[tuple[int, int]],
    *,
    is_told: bool,
    decoding: Decoding,
    failed: str | None,
) -> Prediction:
    """One prediction of an utterance's pieces (none if it failed); a language the model was told is not one it predicted."""
    languages = [hypothesis.language for hypothesis, _ in heard if hypothesis.language]
    language = languages[0] if languages else None
    written, overlaps_s = language or utterance.language, overlaps_of(ranges)
    pieces = join_pieces([(one.text, one.pieces) for one, _ in heard], written, overlaps_s)
    return Prediction(
        id=utterance.id,
        audio_filepath=utterance.audio_name,
        duration_s=utterance.duration_s if failed else ranges[-1][1] / SAMPLE_RATE_HZ,
        time_s=None if failed else sum(seconds for _, seconds in heard),
        text=utterance.text,
        pred_text=join_texts([one.text for one, _ in heard], written, overlaps_s),
        language=utterance.language,
        speaker=utterance.speaker,
        channel=utterance.channel,
        predicted_language=None if is_told else language,
        num_tokens=None if failed else sum(hypothesis.num_tokens for hypothesis, _ in heard),
        is_truncated=None if failed else any(hypothesis.is_truncated for hypothesis, _ in heard),
        failed=failed,
        context=utterance.context if decoding.use_context else None,
        prompt=None if decoding.prompt is PromptForm.own else decoding.prompt.value,
        confidence=confidence_of([one for one, _ in heard]),
        pieces=None if failed else pieces,
    )


def _cut(utterance: Utterance, waveform: np.ndarray, ranges: Sequence[tuple[int, int]]) -> list[Recording]:
    if len(ranges) == 1:
        return [Recording(utterance, waveform)]
    return [
        Recording(replace(utterance, id=f"{utterance.id}#{number}"), waveform[start:end])
        for number, (start, end) in enumerate(ranges)
    ]


def _check_capabilities(
    model: Recogniser, utterances: Sequence[Utterance], batches: Sequence[PlannedBatch], use_context: bool
) -> None:
    if Capability.LANGUAGE not in model.capabilities and any(batch.language for batch in batches):
        raise ConfigError(
            f"decode.language: {model.family} models cannot be told the language; set decode.language=auto"
        )
    has_context = any(utterances[index].context for batch in batches for index in batch.indices)
    if use_context and has_context and Capability.CONTEXT not in model.capabilities:
        raise ConfigError(
            f"decode.use_context: {model.family} models take no context, and the manifest gives some; set "
            "decode.use_context=false"
        )
