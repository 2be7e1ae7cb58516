"""Owns lhotse's cuts as a source: cuts.jsonl or cuts.jsonl.gz, read plainly; lhotse itself is not needed.

Input: a file of cuts with their recordings in files. Output: a row for each supervision, with its part of the recording; written
the other way by `write_cuts`. What only lhotse could make of a cut (mixing, speed, features without sound) is refused.
"""

import gzip
import json
import logging
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from qasr_train.audio.arrow import is_arrow_reference
from qasr_train.audio.decode import probe_audio
from qasr_train.errors import DataError
from qasr_train.files import FreeNames
from qasr_train.manifest import Utterance, rows_of_lines
from qasr_train.sources.base import OpenSource, Rows
from qasr_train.sources.files import FileSource
from qasr_train.sources.settings import SourceConfig

_CUTS = ("MonoCut", "MultiCut", "DataCut")
_IS_CUT_SHORT, _UNHEARD_S = "is_cut_short", 0.1  # no column; seconds that may be missing of a text without a word
_MAX_ROW_BYTES = 4_000_000
_HARMLESS = {"Resample", "ResampleTransform", "AudioTransform"}
log = logging.getLogger(__name__)


def is_cuts(path: Path) -> bool:
    """Whether the first row of a file of JSON lines, gzipped or not, is a cut of lhotse; False where it cannot be read."""
    if not path.name.lower().endswith((".jsonl", ".jsonl.gz")):
        return False
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else open(path, "rb") as file:
            row = json.loads(file.readline(_MAX_ROW_BYTES))
    except (OSError, EOFError, ValueError, RecursionError):
        return False
    is_cut = isinstance(row, dict) and str(row.get("type")).endswith("Cut")
    return is_cut or (isinstance(row, dict) and "supervisions" in row and "recording" in row)


def open_lhotse(path: Path, config: SourceConfig) -> OpenSource:
    """A file of cuts."""
    return FileSource(path, partial(read_cuts, path))


def read_cuts(path: Path) -> Rows:
    """A row for each supervision of each cut, the part of it that lies in its cut.

    Raises:
        DataError: it is no file of cuts, or a cut cannot be read without lhotse; names the line and the cut.
    """
    num_cut_short = 0
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8")
            if path.suffix.lower() == ".gz"
            else open(path, encoding="utf-8") as lines
        ):
            for where, cut in rows_of_lines(lines, path):
                for row in _rows(cut, where):
                    num_cut_short += row.pop(_IS_CUT_SHORT)
                    yield where, row
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the path of the source") from None
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as JSON lines ({error}); copy it again") from None

    if num_cut_short:
        log.warning(
            "%s: %d supervisions reach beyond their cuts: of their sound a part is heard, and their texts are whole "
            "(cuts.trim_to_supervisions() gives each its own cut)",
            path, num_cut_short,
        )  # fmt: skip


def write_cuts(path: Path, utterances: Iterable[Utterance]) -> None:
    """Cuts of these utterances, one supervision each, gzipped; recordings are opened for their rate and length.

    Raises:
        DataError: an utterance has no file of its own. AudioError: one cannot be opened.
    """
    recordings: dict[str, dict[str, Any]] = {}
    names = FreeNames()
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.GzipFile(part, "wb", mtime=0) as out:  # the same bytes every time
        for one in utterances:
            if not isinstance(one.audio, str) or is_arrow_reference(one.audio):
                raise DataError(f"{one.origin}: utterance {one.id!r} has no file of its own; convert=true writes one")
            if one.audio not in recordings:
                recordings[one.audio] = _recording(one.audio, names.take(Path(one.audio).stem))
            out.write((json.dumps(_cut(one, recordings[one.audio]), ensure_ascii=False) + "\n").encode())
    part.replace(path)


def _rows(cut: Mapping[str, Any], where: str) -> Iterable[dict[str, Any]]:
    at = f"{where}: cut {cut.get('id')!r}"
    kind = cut.get("type", "MonoCut")
    if kind not in _CUTS or "supervisions" not in cut:
        raise DataError(
            f"{at} is a {kind}; expected cuts of one recording each (cuts.drop_features().save_audios() makes them)"
        )
    audio, num_channels = _audio(cut.get("recording"), at)
    try:
        start_s, duration_s = float(cut.get("start", 0.0)), float(cut["duration"])
        for number, one in enumerate(cut["supervisions"]):
            begin_s = max(0.0, float(one["start"]))
            end_s = min(duration_s, float(one["start"]) + float(one["duration"]))
            channel = one.get("channel", cut.get("channel"))
            outside_s = begin_s - float(one["start"]) + max(0.0, float(one["start"]) + float(one["duration"]) - end_s)
            yield {
                _IS_CUT_SHORT: outside_s > _UNHEARD_S,
                "id": f"{cut['id']}" if len(cut["supervisions"]) == 1 else f"{cut['id']}-{number}",
                "audio": audio,
                "text": one.get("text"),
                "language": one.get("language"),
                "speaker": one.get("speaker"),
                "start_s": round(start_s + begin_s, 6),
                "end_s": round(start_s + end_s, 6),
                "words": _words(one),
                "channel": channel if num_channels > 1 and isinstance(channel, int) else None,
            }
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{at} lacks or has a broken {error}; write the cuts with lhotse again") from None


def _words(supervision: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Word times, of the recording: lhotse leaves them when it moves a supervision. Before version 1.8 items were objects."""
    rows = []
    for item in (supervision.get("alignment") or {}).get("word") or []:
        text, begin_s, length_s, *score = (
            [item["symbol"], item["start"], item["duration"]] if isinstance(item, Mapping) else item
        )
        end_s = round(begin_s + length_s, 6)
        rows.append({"text": str(text), "start": begin_s, "end": end_s, "confidence": score[0] if score else None})
    return rows or None


def _audio(recording: Any, where: str) -> tuple[str, int]:
    """(path, number of channels) of a cut's recording."""
    if not isinstance(recording, Mapping):
        raise DataError(f"{where} holds features and no recording; save the cuts with their recordings")
    sources = recording.get("sources") or []
    transforms = [one for one in recording.get("transforms") or [] if _name(one) not in _HARMLESS]
    if transforms:
        raise DataError(
            f"{where} changes its recording ({_name(transforms[0])}); save the changed sound (cuts.save_audios())"
        )
    if len(sources) != 1 or sources[0].get("type") != "file":
        kinds = ", ".join(str(one.get("type")) for one in sources) or "none"
        raise DataError(f"{where} has sources of the kind {kinds}; expected one file (cuts.save_audios() writes files)")
    return str(sources[0]["source"]), len(sources[0].get("channels") or [0])


def _name(transform: Any) -> str:
    return str(transform.get("name") if isinstance(transform, Mapping) else transform)


def _recording(audio: str, name: str) -> dict[str, Any]:
    info = probe_audio(audio)
    return {
        "id": name,
        "sources": [{"type": "file", "channels": list(range(info.num_channels)), "source": audio}],
        "sampling_rate": info.sample_rate_hz,
        "num_samples": round(info.duration_s * info.sample_rate_hz),
        "duration": info.duration_s,
        "channel_ids": list(range(info.num_channels)),
    }


def _cut(one: Utterance, recording: Mapping[str, Any]) -> dict[str, Any]:
    start_s = one.start_s or 0.0
    end_s = min(recording["duration"] if one.end_s is None else one.end_s, recording["duration"])
    channels = recording["channel_ids"]
    channel: Any = one.channel if one.channel is not None else channels if len(channels) > 1 else 0
    items = [
        [word.text, word.start_s, round(word.end_s - word.start_s, 6), word.confidence]
        for word in one.words
        if word.start_s is not None and word.end_s is not None
    ]
    spoken: dict[str, Any] = {"alignment": {"word": items}} if items else {}
    spoken |= {"text": one.text, "language": one.language, "speaker": one.speaker}
    supervision = {
        "id": one.id,
        "recording_id": recording["id"],
        "start": 0.0,
        "duration": end_s - start_s,
        "channel": channel,
    }
    return {
        "id": one.id,
        "start": start_s,
        "duration": end_s - start_s,
        "channel": channel,
        "supervisions": [supervision | {name: value for name, value in spoken.items() if value is not None}],
        "recording": recording,
        "type": "MultiCut" if isinstance(channel, list) else "MonoCut",
    }
