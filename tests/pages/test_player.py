"""Links to recordings and players of them: where they lead, which part, nothing where there is no file."""

from pathlib import Path

import pytest

from qasr_train.pages.player import clip_uri, link, player


@pytest.mark.parametrize(
    ("audio", "part", "uri"),
    [
        ("a.wav", (None, None), "file:///corpus/a.wav"),
        ("/far/a b.wav", (None, None), "file:///far/a%20b.wav"),
        ("a.wav", (1.5, None), "file:///corpus/a.wav#t=1.5"),
        ("a.wav", (None, 2.0), "file:///corpus/a.wav#t=0,2"),
        ("a.wav", (1.0, 2.5), "file:///corpus/a.wav#t=1,2.5"),
        (b"samples", (None, None), None),
    ],
)
def test_an_address_is_of_the_file_and_the_part(audio: object, part: tuple, uri: str | None):
    assert clip_uri(audio, Path("/corpus"), *part) == uri


def test_texts_are_text_and_nothing_is_loaded_before_it_is_asked_for():
    assert link(None, "<b>") == "&lt;b&gt;"
    assert link('file:///a"b', "<b>") == '<a href="file:///a&quot;b">&lt;b&gt;</a>'
    assert player("file:///a.wav") == '<audio controls preload="none" src="file:///a.wav"></audio>'
