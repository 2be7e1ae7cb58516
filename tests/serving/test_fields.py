"""Every field of a form means something, or is refused by name."""

import pytest

from qasr_train.serving.engine import Ability
from qasr_train.serving.fields import FORMATS, Asked, parse_fields
from qasr_train.serving.refusals import RefusedError

ABLE = Ability("tuned", True, True, True, True, ("Klingon",))
UNABLE = Ability("tuned", False, False, False, False)


def parse(*fields: tuple[str, str], ability: Ability = ABLE) -> Asked:
    return parse_fields(fields, b"sound", ability)


def test_what_openais_clients_send_is_taken() -> None:
    assert parse(("model", "tuned")) == Asked(b"sound", "json", None, None, frozenset())
    sent = [("language", "pt-BR"), ("prompt", "Ana"), ("temperature", "0.0"), ("stream", "False")]
    sent += [("response_format", "verbose_json"), ("timestamp_granularities[]", "word"), ("chunking_strategy", "auto")]
    assert parse(*sent, ("timestamp_granularities[]", "segment")) == Asked(
        b"sound", "verbose_json", "Portuguese", "Ana", frozenset({"word", "segment"})
    )
    assert parse(("language", "klingon")).language == "Klingon"
    assert parse(("response_format", "verbose_json")).granularities == {"segment"}
    assert [parse(("response_format", one)).needs_words for one in FORMATS] == [False, False, True, True, False]
    assert parse(("language", ""), ("prompt", ""), ability=UNABLE) == Asked(b"sound", "json", None, None, frozenset())


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ("temperature=0.2", "temperature", "greedy"),
        ("temperature=hot", "temperature", "greedy"),
        ("stream=true", "stream", "as a whole"),
        ("response_format=diarized_json", "response_format", "json, text, srt, vtt, verbose_json"),
        ("language=xx-nope", "language", "one of Chinese, English"),
        ("language=en language=de", "language", "2 times"),
        ("include[]=logprobs", "include[]", "means nothing here; known are file, model"),
        ("chunking_strategy=server_vad", "chunking_strategy", "auto"),
        ("timestamp_granularities[]=word", "timestamp_granularities[]", "verbose_json alone"),
        ("response_format=verbose_json timestamp_granularities[]=phone", "timestamp_granularities[]", "segment, word"),
    ],
)
def test_a_field_that_would_be_ignored_is_refused(fields: str, param: str, words: str) -> None:
    given = [tuple(one.split("=")) for one in fields.split()]
    with pytest.raises(RefusedError) as caught:
        parse(*given)
    assert (int(caught.value.status), caught.value.param) == (400, param)
    assert words in caught.value.message


def test_words_without_an_aligner_and_another_model_are_refused() -> None:
    with pytest.raises(RefusedError, match=r"aligner\.path"):
        parse(("response_format", "verbose_json"), ("timestamp_granularities[]", "word"), ability=UNABLE)
    with pytest.raises(RefusedError, match="no model whisper-1 here; this server has tuned") as caught:
        parse(("model", "whisper-1"))
    assert (int(caught.value.status), caught.value.code) == (404, "model_not_found")
