"""Owns the predictions contract: `Prediction`, and reading and writing `predictions.jsonl`, one JSON object a line.

Input: our own predictions.jsonl, a manifest of the Open ASR Leaderboard (`MODEL_..._DATASET_....jsonl`), or a folder of them.
Output: `Prediction` objects, chunks of one recording merged by `parent_id`. Imports no torch, decodes no audio.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from qasr_train.errors import ConfigError, DataError
from qasr_train.files import files_below, without_lone_surrogates, write_rows
from qasr_train.manifest import MAX_SECONDS, read_jsonl
from qasr_train.models.blocks.text_pieces import Pieces, joined_pieces, parse_pieces, pieces_field
from qasr_train.streaming.shown import Streamed
from qasr_train.text.languages import LANGUAGE_CODES, resolve_language
from qasr_train.transcription.carried_columns import parse_columns
from qasr_train.transcription.unstated_language import Reason, describe_reasons, languages_of_unstated

PREDICTIONS_VERSION = 1
PREDICTIONS = "predictions.jsonl"  # in the folder of a run
PARTIAL_PREDICTIONS = "predictions.partial.jsonl"  # what an unfinished evaluation has so far, see journal.py

# Files that lie beside predictions in a run folder and hold something else.
_NOT_PREDICTIONS = {"utterances.jsonl", "metrics.jsonl", "manifest.jsonl", "rejects.jsonl"}
# A row with neither is one of the leaderboard's, whatever its file is called.
_OUR_MARKS = {"language", "version"}
_WHERE_SET = ("parent_id", "chunk_index", "channel", "prompt", "columns", "pieces", "streamed")
_WRITERS: dict[str, Callable[[Any], Any]] = {"pieces": pieces_field, "streamed": Streamed.row}
_JSON_NAMES = {"duration_s": "duration", "time_s": "time"}
_TYPES: dict[str, tuple[type, ...]] = {
    "audio_filepath": (str,),
    "text": (str,),
    "pred_text": (str,),
    "parent_id": (str, int),
    "chunk_index": (int,),
    "id": (str, int),
    "set": (str,),
    "language": (str,),
    "speaker": (str, int),
    "role": (str,),
    "predicted_language": (str,),
    "num_tokens": (int,),
    "is_truncated": (bool,),
    "failed": (str,),
    "context": (str,),
    "confidence": (int, float),
    "channel": (int,),
    "prompt": (str,),
}
ROLES = ("target", "guard")
_MAX_CHARACTERS, _MAX_CELLS = 1_000_000, 10**11  # of a text; of one times the other: five hours against five hours


@dataclass(slots=True)
class Prediction:
    """What one system made of one utterance (or of one chunk of a long recording).

    audio_filepath: path or name of the recording; None where it has none.
    duration_s: seconds of audio; None if not known.
    time_s: seconds of inference spent on it (batch time / batch size); None if not measured.
    text: the raw reference; "" means the clip holds no speech; None means there is no reference.
    pred_text: the raw hypothesis, never normalised.
    parent_id, chunk_index: set where the row is one chunk of a recording; `text` is then the reference of the whole recording,
        the same in every chunk, or that of the chunk.
    id: unique within its set.
    set: name of the dataset split; scores are given per set.
    language: the reference's language: a name of `languages.py`, another spelling we do not know, or None.
    role: "target" (should improve), "guard" (must not get worse) or None.
    predicted_language: what the model said it heard.
    is_truncated: the cap of new tokens was hit.
    failed: why there is no hypothesis (audio that will not decode ...); None if all went well.
    confidence: 0 to 1; how sure the model was of `pred_text`: the geometric mean of the probabilities of its tokens, its end
        token's among them. None where the system does not tell.
    channel: the one channel of the recording that was transcribed, from 0; None: all that carry sound.
    prompt: the `PromptForm` it was transcribed with; None: the system's own.
    columns: of the manifest's other columns those that were asked for (`by`), as text; a row may lack any.
    pieces: how probable each piece of `pred_text` was; None where the system does not tell.
    streamed: what was shown when, of a recording that was heard as it came; None of one heard whole.
    origin: "file:line", for messages only, never written.
    """

    audio_filepath: str | None
    duration_s: float | None
    time_s: float | None
    text: str | None
    pred_text: str
    parent_id: str | None = None
    chunk_index: int | None = None
    id: str = ""
    set: str = ""
    language: str | None = None
    speaker: str | None = None
    role: str | None = None
    predicted_language: str | None = None
    num_tokens: int | None = None
    is_truncated: bool | None = None
    failed: str | None = None
    context: str | None = None
    confidence: float | None = None
    channel: int | None = None
    prompt: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    pieces: Pieces | None = None
    streamed: Streamed | None = None
    origin: str = ""


@dataclass(slots=True)
class PredictionSet:
    """Predictions of one system, ready to score, and what a person should know about how they were read."""

    predictions: list[Prediction]
    system: str | None
    warnings: list[str]


def load_predictions(
    path: str | Path, *, language: str | None = None, system: str | None = None, columns: Sequence[str] = ()
) -> PredictionSet:
    """Read a predictions file or a folder of them; merge chunks; give every row an id, a set and a language.

    Args:
        path: our predictions.jsonl, a leaderboard manifest, or a folder searched for `*.jsonl` at any depth.
        language: name or code for rows without their own; None: by script and name where these decide, else English for
            leaderboard manifests, unknown for ours. A warning counts such rows.
        system: which system to read where a folder of manifests holds several (the MODEL part of the file names).
        columns: other columns to keep, where rows have them.

    Raises:
        DataError, ConfigError: nothing there, not JSON (file:line), a missing field, an id twice, several systems.
    """
    default_language = _command_line_language(language)
    files = _choose_system(_prediction_files(Path(path)), system)
    predictions: list[Prediction] = []
    warnings: list[str] = []
    reasons: Counter[Reason] = Counter()
    for file in files:
        rows: list[Prediction] = []
        is_ours = False
        for where, row in read_jsonl(file):
            rows.append(parse_prediction(row, where, columns))
            is_ours = is_ours or not _OUR_MARKS.isdisjoint(row)
        merged, chunk_warnings = merge_chunks(rows)
        is_leaderboards = _name_parts(file)[1] is not None or not is_ours
        _check_lengths(merged)
        _complete(merged, file, default_language)
        reasons += _state_languages(merged, is_leaderboards=is_leaderboards)
        predictions.extend(merged)
        warnings.extend(chunk_warnings)
    if not predictions:
        raise DataError(f"{path}: holds no predictions; expected JSON lines with `text` and `pred_text`")
    _check_ids(predictions)
    systems = sorted({name for file in files if (name := _name_parts(file)[0])})
    warnings = [*describe_reasons(reasons, len(predictions)), *warnings]
    return PredictionSet(predictions, systems[0] if systems else None, warnings)


def prediction_to_row(prediction: Prediction) -> dict[str, Any]:
    """The JSON row of a prediction: the leaderboard's fields first, then ours. Those of _WHERE_SET only where set."""
    row: dict[str, Any] = {}
    for one in fields(Prediction):
        value = getattr(prediction, one.name)
        if one.name == "origin" or (one.name in _WHERE_SET and value in (None, {})):
            continue
        row[_JSON_NAMES.get(one.name, one.name)] = _WRITERS[one.name](value) if one.name in _WRITERS else value
    row["version"] = PREDICTIONS_VERSION
    return row


def write_predictions(path: str | Path, predictions: Iterable[Prediction]) -> int:
    """Write predictions.jsonl all or nothing (temporary file, then rename); returns how many rows."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_rows(path, map(prediction_to_row, predictions))


def merge_chunks(predictions: list[Prediction]) -> tuple[list[Prediction], list[str]]:
    """Join the chunks of each recording, as the leaderboard does; rows without `parent_id` pass through unchanged.

    Returns: the rows (merged ones after the others, by parent id), a warning per recording with a chunk missing, and one where
    chunks have a reference each, not all that of the whole recording: these are joined too.
    """
    whole = [row for row in predictions if row.parent_id is None]
    chunks: dict[tuple[str, str], list[Prediction]] = defaultdict(list)
    for row in predictions:
        if row.parent_id is not None:
            if row.chunk_index is None:
                raise DataError(
                    f"{row.origin}: has a `parent_id` but no `chunk_index`; give the chunk its place, from 0"
                )
            chunks[row.set, row.parent_id].append(row)
    warnings = []
    for (_, parent_id), parts in sorted(chunks.items()):
        parts.sort(key=lambda part: part.chunk_index or 0)
        indices = [part.chunk_index for part in parts]
        if indices != list(range(len(parts))):
            warnings.append(
                f"{parts[0].origin}: chunks of {parent_id!r} are numbered {indices}, not 0 to {len(parts) - 1}; "
                "a missing chunk counts as deletions"
            )
        whole.append(_merged(parent_id, parts))
    own = [parent_id for (_, parent_id), parts in sorted(chunks.items()) if _have_own_texts(parts)]
    if own:
        warnings.append(
            f"the chunks of {len(own)} recordings, the first {own[0]!r}, have a reference each; they are joined in order"
        )
    return whole, warnings


def _have_own_texts(parts: list[Prediction]) -> bool:
    """Whether chunks have references of their own, not each that of the whole recording."""
    return len({" ".join((part.text or "").split()) for part in parts} - {""}) > 1


def _whole_text(parts: list[Prediction]) -> str | None:
    """The reference of a recording: the one its chunks share, else theirs in order; None where a part of it is not known."""
    if not _have_own_texts(parts):
        return next((part.text for part in parts if part.text), parts[0].text)
    texts = [part.text for part in parts if part.text is not None]
    return " ".join(text.strip() for text in texts if text.strip()) if len(texts) == len(parts) else None


def _merged(parent_id: str, parts: list[Prediction]) -> Prediction:
    reasons = sorted({part.failed for part in parts if part.failed})
    return replace(
        parts[0],
        audio_filepath=parent_id,
        id=parent_id,
        duration_s=_sum_or_none([part.duration_s for part in parts]),
        time_s=_sum_or_none([part.time_s for part in parts]),
        text=_whole_text(parts),
        pred_text=" ".join(stripped for part in parts if (stripped := part.pred_text.strip())),
        num_tokens=_sum_or_none([part.num_tokens for part in parts]),
        is_truncated=any(part.is_truncated for part in parts),
        failed="; ".join(reasons) or None,
        columns=dict(set.intersection(*(set(part.columns.items()) for part in parts))),
        confidence=None,  # rows do not say of how many tokens each is the mean
        pieces=joined_pieces([(part.pred_text, part.pieces) for part in parts]),
        streamed=None,  # each chunk was a stream of its own
        parent_id=None,
        chunk_index=None,
    )


def _sum_or_none(values: list[Any]) -> Any:
    return None if any(value is None for value in values) else sum(values)


def _state_languages(rows: list[Prediction], *, is_leaderboards: bool) -> Counter[Reason]:
    """Give rows that state no language the one that something else tells; how many with words got which, and why."""
    unstated = [row for row in rows if row.language is None]
    reasons = languages_of_unstated(
        [row.text for row in unstated], [row.set for row in unstated], is_leaderboards=is_leaderboards
    )
    for row, (language, _) in zip(unstated, reasons, strict=True):
        row.language = language
    spoken = [reason for row, reason in zip(unstated, reasons, strict=True) if (row.text or "").strip()]
    return Counter(reason for reason in spoken if reason[0] is not None)


def _command_line_language(language: str | None) -> str | None:
    """A code or name from the command line. Codes outside the model's thirty languages pass: scoring needs no model."""
    if language and language.isalpha() and len(language) <= 3 and language.lower() not in LANGUAGE_CODES.values():
        try:
            return resolve_language(language, where="language")
        except DataError:
            return language.lower()
    try:
        return resolve_language(language, where=f"language={language}")
    except DataError as error:
        raise ConfigError(str(error)) from None


def known_language(value: str | None) -> str | None:
    """The model's name of a language, or what was given where it has none."""
    try:
        return resolve_language(value, where="")
    except DataError:
        return value  # a language the model does not have is still scored, with the rules common to all


def _prediction_files(path: Path) -> list[Path]:
    if not path.exists():
        raise DataError(
            f"{path}: no such file or folder; expected the folder of a run, a predictions.jsonl or a folder of manifests"
        )
    if not path.is_dir():
        return [path]
    if (path / PREDICTIONS).is_file():
        return [path / PREDICTIONS]
    if (path / PARTIAL_PREDICTIONS).exists():
        raise DataError(
            f"{path}: holds an evaluation that is not finished; finish it with the same command and resume=true"
        )
    files = [file for file in files_below(path, [".jsonl"]) if file.name not in _NOT_PREDICTIONS]
    named = [file for file in files if file.name.startswith("MODEL_")]
    if not files:
        raise DataError(f"{path}: holds no predictions.jsonl and no MODEL_..._DATASET_....jsonl manifest")
    return named or files


def _name_parts(file: Path) -> tuple[str | None, str | None]:
    """(system, dataset) of a leaderboard manifest's file name; (None, None) for any other name."""
    name = file.name.removesuffix(".jsonl")
    if not name.startswith("MODEL_") or "_DATASET_" not in name:
        return None, None
    system, dataset = name.removeprefix("MODEL_").split("_DATASET_", 1)
    return system, dataset


def _choose_system(files: list[Path], system: str | None) -> list[Path]:
    systems = sorted({name for file in files if (name := _name_parts(file)[0])})
    if system is not None:
        chosen = [file for file in files if _name_parts(file)[0] == system.replace("/", "-")]
        if not chosen:
            known = ", ".join(systems) or "none that a file name says"
            raise ConfigError(f"system={system}: no manifest of that system; those there: {known}")
        return chosen
    if len(systems) > 1:
        raise ConfigError(
            f"the folder holds manifests of {len(systems)} systems; choose one with system=, of {', '.join(systems)}"
        )
    return files


def parse_prediction(row: dict[str, Any], where: str, columns: Sequence[str] = ()) -> Prediction:
    """One row as it stands, checked; DataError begins with `where`. columns: others to keep, of the row or of its `columns`."""
    for name in ("text", "pred_text"):
        if name not in row:
            raise DataError(f"{where}: has no `{name}`; every prediction needs `text` (the reference) and `pred_text`")
    for name, types in _TYPES.items():
        value = row.get(name)
        if value is not None and not (isinstance(value, types) and (bool in types or not isinstance(value, bool))):
            raise DataError(
                f"{where}: `{name}` is {value!r:.80}; expected {' or '.join(kind.__name__ for kind in types)}"
            )
    if row.get("role") not in (None, *ROLES):
        raise DataError(f"{where}: `role` is {row['role']!r}; expected one of {', '.join(ROLES)}, or null")
    confidence = row.get("confidence")
    if confidence is not None and not 0 <= confidence <= 1:
        raise DataError(f"{where}: `confidence` is {confidence!r}; expected a number from 0 to 1, or null")
    values = {name: row.get(name) for name in _TYPES}
    for name in ("id", "parent_id", "speaker"):
        values[name] = None if values[name] is None else str(values[name])
    values = {
        name: without_lone_surrogates(value) if isinstance(value, str) else value for name, value in values.items()
    }
    values["id"] = values["id"] or ""
    values["set"] = values["set"] or ""
    values["pred_text"] = values["pred_text"] or ""
    seconds = {name: _seconds(row, _JSON_NAMES[name], where) for name in _JSON_NAMES}
    carried = {name: without_lone_surrogates(value) for name, value in parse_columns(row, where, columns).items()}
    pieces = parse_pieces(row.get("pieces"), values["pred_text"] or "", where)
    streamed = Streamed.parse(row.get("streamed"), where)
    return Prediction(**values, **seconds, columns=carried, pieces=pieces, streamed=streamed, origin=where)  # type: ignore[arg-type]


def _seconds(row: dict[str, Any], name: str, where: str) -> float | None:
    value = row.get(name)
    if value is None:
        return None
    # Compared before it is a float: a whole number of 400 digits is none.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_SECONDS:
        raise DataError(f"{where}: `{name}` is {value!r:.80}; expected seconds, 0 or more, or null")
    return float(value)


def _complete(predictions: list[Prediction], file: Path, default_language: str | None) -> None:
    """Fill in id, set and language where the rows of one file do not say them."""
    dataset = _name_parts(file)[1]
    paths = [row.audio_filepath for row in predictions]
    has_unique_paths = None not in paths and len(set(paths)) == len(paths)
    for number, row in enumerate(predictions):
        row.id = row.id or (str(row.audio_filepath) if has_unique_paths else f"row_{number}")
        row.set = row.set or dataset or file.stem
        row.language = known_language(row.language) or default_language


def _check_lengths(predictions: Iterable[Prediction]) -> None:
    """Refuse texts whose alignment would take hours and all memory, before any is normalised."""
    for row in predictions:
        lengths = len(row.text or ""), len(row.pred_text)
        if max(lengths) > _MAX_CHARACTERS or lengths[0] * lengths[1] > _MAX_CELLS:
            raise DataError(
                f"{row.origin}: {row.id or 'a row'} has {lengths[0]} characters of reference and {lengths[1]} of hypothesis, "
                "more than can be aligned (an hour of speech has some 60000); score its parts as utterances of their own"
            )


def _check_ids(predictions: list[Prediction]) -> None:
    seen: dict[tuple[str, str], str] = {}
    for row in predictions:
        first = seen.setdefault((row.set, row.id), row.origin)
        if first != row.origin:
            raise DataError(
                f"{row.origin}: id {row.id!r} of set {row.set!r} stands already at {first}; ids are unique in a set"
            )
