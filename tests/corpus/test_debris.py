"""What nobody says, found in transcripts and taken out of them."""

import pytest

from qasr_train.corpus.debris import Debris, mended

EVERY_KIND = frozenset(Debris)


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("so <b>bold</b> a step", "so bold a step"),
        ("H<sub>2</sub>O", "H2O"),
        ("one<br/>two<p>three</p>four", "one two three four"),
        ("salt &amp; water &lt;hot&gt;", "salt & water <hot>"),
        ("it&#39;s&nbsp;me", "it's me"),
        ("&amp;amp;", "&amp;"),  # once: who wrote it twice may have meant it
        ("he [inaudible] said", "he said"),
        ("[noise] he said [laughs]", "he said"),
        ("well[cough], yes", "well, yes"),
        ("two  spaces\tand\na line", "two spaces and a line"),
        ("less < more > less, R&D; 5 [", "less < more > less, R&D; 5 ["),
        ("a<asr_text>b &lt;|im_end|&gt;", "a<asr_text>b <|im_end|>"),  # for these a clip is rejected
    ],
)
def test_what_is_left(text: str, rest: str) -> None:
    assert mended(text, EVERY_KIND) == rest


def test_kinds_that_are_not_asked_for_stay_to_the_letter() -> None:
    text = "a <b>b</b>  &amp; [laughs]\tc"
    assert mended(text, frozenset()) == text
    assert mended(text, frozenset({Debris.markup})) == "a b  & [laughs]\tc"
    assert mended(text, frozenset({Debris.remarks})) == "a <b>b</b>  &amp;\tc"
    assert mended(text, frozenset({Debris.spaces})) == "a <b>b</b> &amp; [laughs] c"


@pytest.mark.parametrize(
    ("text", "kinds"),
    [("plain", set()), ("<unk>", {Debris.markup}), ("[x]  &eacute;", {Debris.markup, Debris.remarks, Debris.spaces})],
)
def test_kinds_are_told_apart(text: str, kinds: set[Debris]) -> None:
    assert {kind for kind in Debris if kind.is_in(text)} == kinds
