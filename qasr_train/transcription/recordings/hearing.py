"""Owns hearing one recording with a model in memory, without a run directory, by the evaluation's own engine.

Input: a cut recording, a model, a `Decoding`. Output: its pieces' predictions, batch by batch; then a `HeardRecording`.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace

from qasr_train.errors import AudioError
from qasr_train.models.base import Recogniser
from qasr_train.timed.base import TimedSegment
from qasr_train.transcription.plan import plan_transcription
from qasr_train.transcription.predictions import Prediction
from qasr_train.transcription.prompts import refuse_lost_contexts
from qasr_train.transcription.recordings.pieces import CutRecording
from qasr_train.transcription.recordings.segments import failure_of, segments_of, text_of
from qasr_train.transcription.sets import UtteranceSet
from qasr_train.transcription.settings import AUTO, Decoding
from qasr_train.transcription.transcribe import transcribe_batches


@dataclass(frozen=True, slots=True)
class HeardRecording:
    """What was said in a recording. duration_s: seconds of it. language: of its first piece that has one; None: not known.

    num_truncated: pieces that met the limit of new tokens, so that their text may lack its end. untimed: why segments have no
    word times though they were asked for, a reason a segment.
    """

    duration_s: float
    text: str
    segments: tuple[TimedSegment, ...]
    language: str | None
    num_truncated: int
    untimed: tuple[str, ...] = ()


def hear_pieces(
    model: Recogniser, cut: CutRecording, decoding: Decoding, context: str | None
) -> Generator[list[Prediction], None, None]:
    """The predictions of a recording's pieces, a batch at a time; closing it stops after the batch at work.

    context: hotwords or background, given with every piece; None: none.

    Raises:
        ConfigError: the model cannot be told the language or the context; a piece exhausts the GPU's memory.
    """
    utterances = [replace(one, context=context) for one in cut.utterances()]
    refuse_lost_contexts(decoding.prompt, utterances, use_context=decoding.use_context, where="the request")
    yield from transcribe_batches(
        model, UtteranceSet("", utterances), plan_transcription(utterances, decoding), decoding
    )


def heard_recording(cut: CutRecording, predictions: Mapping[str, Prediction], decoding: Decoding) -> HeardRecording:
    """All pieces together. predictions: of every piece, by id.

    Raises:
        AudioError: the recording, or a piece of it, cannot be read.
    """
    reason = failure_of(cut, predictions)
    if reason is not None:
        raise AudioError(reason)
    told = None if decoding.language == AUTO else decoding.language
    heard = [predictions[one.id] for one in cut.utterances()]
    return HeardRecording(
        duration_s=cut.duration_s,
        text=text_of(cut, predictions, told),
        segments=tuple(segments_of(cut, predictions, told)),
        language=told or next((one.predicted_language for one in heard if one.predicted_language), None),
        num_truncated=sum(bool(one.is_truncated) for one in heard),
    )
