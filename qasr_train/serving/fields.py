"""Owns what a form of /v1/audio/transcriptions asks for: every field either means something here, or is refused.

Input: the form's fields, the upload, what the model can do. Output: `Asked`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

from qasr_train.errors import DataError
from qasr_train.serving.engine import Ability
from qasr_train.serving.refusals import RefusedError, bad
from qasr_train.text.languages import LANGUAGES, resolve_language

FORMATS = ("json", "text", "srt", "vtt", "verbose_json")
_GRANULARITIES = ("segment", "word")
_FIELDS = (
    "file model language prompt response_format temperature timestamp_granularities[] stream chunking_strategy"
).split()


@dataclass(frozen=True, slots=True)
class Asked:
    """One transcription. language: the model's name of it; None: not told. context: None for none."""

    content: bytes
    response_format: str
    language: str | None
    context: str | None
    granularities: frozenset[str]

    @property
    def needs_words(self) -> bool:
        """Whether word times are part of the answer, or decide it: cues of subtitles go by them where they can be had."""
        return "word" in self.granularities or self.response_format in ("srt", "vtt")


def parse_fields(fields: Sequence[tuple[str, str]], content: bytes | None, ability: Ability) -> Asked:
    """The request that a form makes. content: of the field `file`; None: it has no such file.

    Raises:
        RefusedError: 400 with the field and what it takes, 404 for another model.
    """
    given = _by_name(fields)
    _refuse_unknown(given)
    _check_model(given, ability)
    if content is None:
        raise bad("the form has no `file`; send a recording as multipart/form-data", "file")
    if not content:
        raise bad("the file is empty (0 bytes); send a recording", "file")
    response_format = _one(given, "response_format") or "json"
    if response_format not in FORMATS:
        raise bad(f"response_format={response_format:.40}: expected one of {', '.join(FORMATS)}", "response_format")
    _refuse_sampling_and_streams(given)
    return Asked(
        content,
        response_format,
        parse_language(_one(given, "language"), ability),
        parse_context(_one(given, "prompt"), ability),
        _granularities(given, response_format, ability),
    )


def parse_language(spelling: str | None, ability: Ability) -> str | None:
    """The model's name of a language, None where none is told; raises RefusedError (400)."""
    try:
        language = resolve_language(spelling, where="language", new_languages=ability.new_languages)
    except DataError:
        known = ", ".join([*LANGUAGES, *ability.new_languages])
        raise bad(
            f"language={spelling:.40}: not known; send one of {known}, an ISO code, or leave it out", "language"
        ) from None
    if language is not None and not ability.takes_language:
        raise bad(f"model {ability.name} cannot be told the language; leave it out", "language")
    return language


def parse_context(prompt: str | None, ability: Ability) -> str | None:
    """Hotwords or background; None where there is none; raises RefusedError (400)."""
    if not prompt:
        return None
    if not ability.takes_context:
        raise bad(f"model {ability.name} takes no context here; leave `prompt` out", "prompt")
    return prompt


def _by_name(fields: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    given: dict[str, list[str]] = {}
    for name, value in fields:
        name = "timestamp_granularities[]" if name == "timestamp_granularities" else name
        given.setdefault(name, []).append(value)
    return given


def _refuse_unknown(given: dict[str, list[str]]) -> None:
    unknown = next((name for name in given if name not in _FIELDS), None)
    if unknown is not None:
        raise bad(f"field {unknown[:40]!r} means nothing here; known are {', '.join(_FIELDS)}", unknown[:40])


def _check_model(given: dict[str, list[str]], ability: Ability) -> None:
    wanted = _one(given, "model")
    if wanted not in (None, ability.name):
        raise RefusedError(
            HTTPStatus.NOT_FOUND,
            f"no model {wanted:.80} here; this server has {ability.name} (`serve name=...` gives it another name)",
            param="model",
            code="model_not_found",
        )


def _refuse_sampling_and_streams(given: dict[str, list[str]]) -> None:
    temperature = _one(given, "temperature")
    if temperature is not None and not _is_zero(temperature):
        raise bad(f"temperature={temperature:.40}: decoding is greedy here; send 0, or leave it out", "temperature")
    stream = _one(given, "stream")
    if stream is not None and stream.lower() not in ("false", "0"):
        raise bad(
            "stream: an upload is answered as a whole; leave `stream` out, or speak into the page's microphone",
            "stream",
        )
    chunking = _one(given, "chunking_strategy")
    if chunking not in (None, "auto"):
        raise bad("chunking_strategy: the server cuts at silences; send auto, or leave it out", "chunking_strategy")


def _is_zero(text: str) -> bool:
    try:
        return float(text) == 0
    except ValueError:
        return False


def _granularities(given: dict[str, list[str]], response_format: str, ability: Ability) -> frozenset[str]:
    key = "timestamp_granularities[]"
    wanted = frozenset(given.get(key, ()))
    unknown = next((one for one in sorted(wanted) if one not in _GRANULARITIES), None)
    if unknown is not None:
        raise bad(f"{key}={unknown:.40}: expected one of {', '.join(_GRANULARITIES)}", key)
    if wanted and response_format != "verbose_json":
        raise bad(f"{key} is for response_format=verbose_json alone; {response_format} has no such times", key)
    if "word" in wanted and not ability.times_words:
        raise bad(f"{key}=word: this server times no words; start it with aligner.path=...", key)
    return wanted or frozenset({"segment"} if response_format == "verbose_json" else ())


def _one(given: dict[str, list[str]], name: str) -> str | None:
    values = given.get(name, [])
    if len(values) > 1:
        raise bad(f"field {name} stands {len(values)} times; send it once", name)
    return values[0] if values else None
