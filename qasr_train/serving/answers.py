"""Owns how a heard recording is answered: json, text, srt, vtt, verbose_json, as OpenAI's interface has them.

Input: `HeardRecording`, what was asked. Output: a body and its media type. What the model does not tell is null, not made up.
"""

import json
import math
from typing import Any

from qasr_train.serving.fields import Asked
from qasr_train.timed.base import TimedSegment
from qasr_train.timed.cues import SUBTITLES, CueLayout, laid_out
from qasr_train.timed.formats import FORMATS
from qasr_train.transcription.recordings.hearing import HeardRecording

_MEDIA_TYPES = {"srt": "application/x-subrip", "vtt": "text/vtt"}


def answer(heard: HeardRecording, asked: Asked, layout: CueLayout) -> tuple[str, str]:
    """(body, media type). layout: of the cues of subtitles."""
    if asked.response_format == "text":
        return f"{heard.text}\n", "text/plain"
    if asked.response_format in SUBTITLES:
        name = asked.response_format
        return FORMATS[name].text_of(laid_out(heard.segments, layout), ""), _MEDIA_TYPES[name]
    content: dict[str, Any] = (
        {"text": heard.text} if asked.response_format == "json" else verbose_answer(heard, asked.granularities)
    )
    content["usage"] = {"type": "duration", "seconds": math.ceil(heard.duration_s)}
    return json.dumps(content, ensure_ascii=False), "application/json"


def verbose_answer(heard: HeardRecording, granularities: frozenset[str]) -> dict[str, Any]:
    """What `verbose_json` holds. granularities: "segment", "word", or both."""
    content: dict[str, Any] = {
        "task": "transcribe",
        "language": heard.language.lower() if heard.language else None,
        "duration": round(heard.duration_s, 3),
        "text": heard.text,
    }
    if "word" in granularities:
        words = [word for segment in heard.segments for word in segment.words]
        content["words"] = [{"word": one.text, "start": _ms(one.start_s), "end": _ms(one.end_s)} for one in words]
    # Keys that OpenAI does not have, where there is something to know.
    if heard.untimed:
        content["untimed"] = f"{len(heard.untimed)} segments have no word times, the first since {heard.untimed[0]}"
    if heard.num_truncated:
        content["truncated"] = (
            f"{heard.num_truncated} segments met the limit of new tokens: their text may lack its end"
        )
    if "segment" in granularities:
        content["segments"] = [_segment(number, one) for number, one in enumerate(heard.segments)]
    return content


def _segment(number: int, segment: TimedSegment) -> dict[str, Any]:
    """Those keys of OpenAI's that are Whisper's alone are null."""
    return {
        "id": number,
        "start": _ms(segment.start_s),
        "end": _ms(segment.end_s),
        "text": segment.text,
        "language": segment.language.lower() if segment.language else None,
        "temperature": 0.0,
        "avg_logprob": round(math.log(segment.confidence), 4) if segment.confidence else None,
        **dict.fromkeys(("seek", "tokens", "compression_ratio", "no_speech_prob")),
    }


def _ms(seconds: float | None) -> float | None:
    """Seconds to the millisecond."""
    return None if seconds is None else round(seconds, 3)
