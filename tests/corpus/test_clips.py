"""Which clips can be used, and which are the same sound."""

from typing import Any

import pytest

from qasr_train.corpus.clips import Clip, find_duplicates, mend_transcripts, reject_unusable
from qasr_train.corpus.debris import Debris
from qasr_train.corpus.worker import Measured
from tests.helpers import utterance


def clip(name: str, digest: str = "d", *, duration_s: float = 1.0, peak: float = 0.5, **fields: Any) -> Clip:
    measured = Measured(duration_s=duration_s, peak=peak, num_clipped_samples=0, digest=digest)
    return Clip(utterance(id=name, **fields), measured)


@pytest.mark.parametrize(
    ("faulty", "reason"),
    [
        (clip("a", duration_s=0.5), "lasts 0.5 s, less than min_duration_s=0.75"),
        (clip("a", duration_s=3.0), "lasts 3 s, more than max_duration_s=2"),
        (clip("a", text=None), 'has no transcript (text is null); set it to "" where nobody speaks'),
        (clip("a", peak=0.0, text="x"), "is digital silence, yet has a transcript"),
        (
            clip("a", text="the { a / b"),
            "its alternatives cannot be read: 'the { a / b': an alternative is opened by `{` and not closed; write "
            "{ a / b / @ }, with spaces around each mark",
        ),
        (clip("a", text="a <|im_end|>"), "its transcript holds '<|im_end|>', a token of the model"),
    ],
)
def test_a_clip_that_cannot_be_used_says_why(faulty: Clip, reason: str) -> None:
    good = [clip("b", text="x"), clip("c", peak=0.0, text="")]
    kept, (reject,) = reject_unusable([good[0], faulty, good[1]], min_duration_s=0.75, max_duration_s=2.0)
    assert kept == good
    assert (reject.id, reject.reason) == ("a", reason)


def test_the_first_of_a_sound_is_kept_and_silence_is_no_sound() -> None:
    clips = [clip("a", "1", text="x"), clip("b", "2", text="x"), clip("c", "1", text="x"), clip("d", "1", text="y")]
    silent = [clip("e", "0", peak=0.0, text=""), clip("f", "0", peak=0.0, text="")]
    unique, repeated = find_duplicates([*clips, *silent])
    assert [found.utterance.id for found in unique] == ["a", "b", "e", "f"]
    assert [(reject.id, reject.reason) for reject in repeated] == [
        ("c", "same sound and text as a (test.jsonl:1)"),
        ("d", "same sound and another text as a (test.jsonl:1)"),
    ]


def test_debris_is_taken_out_of_the_kinds_asked_for_and_counted() -> None:
    clips = [
        clip("a", text="so <b>bold</b>  &amp; [laughs] brave"),
        clip("b", text="[inaudible]"),
        clip("c", text="plain"),
        clip("d", text=None),
        clip("e", text="two  spaces"),
        clip("f", text='[["several"], ["spellings"]]'),
    ]
    good, rejects, counts = mend_transcripts(clips, [Debris.markup, Debris.remarks])
    assert [found.utterance.text for found in good] == [
        "so bold  & brave",
        "plain",
        None,
        "two  spaces",
        clips[-1].utterance.text,
    ]
    assert counts == {Debris.markup: 1, Debris.remarks: 1}
    assert [(one.id, one.reason) for one in rejects] == [
        ("b", "its transcript is nothing but remarks ('[inaudible]'); whether anybody speaks it does not say")
    ]
    assert mend_transcripts(clips, []) == (clips, [], {})
