"""What `prepare` reports of a corpus."""

import pytest

from qasr_train.corpus.summary import Reject, summarize
from qasr_train.corpus.worker import Measured
from qasr_train.sources.intake import Intake
from tests.helpers import utterance


def test_kinds_of_reasons_do_not_depend_on_names_and_numbers() -> None:
    reasons = ["lasts 0.05 s, less than min_duration_s=0.1", "lasts 0.07 s, less than min_duration_s=0.1"]
    assert len({Reject("i", "a", "o", reason).kind for reason in reasons}) == 1
    assert (
        Reject("i", "a", "o", "same sound and text as u 7").kind
        == Reject("i", "a", "o", "same sound and text as x").kind
    )


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("so <b>bold</b>", "markup in the transcript"),
        ("salt &amp; water", "markup in the transcript"),
        ("it&#39;s", "markup in the transcript"),
        ("he [inaudible] said", "remarks in brackets"),
        ("two  spaces", "runs of spaces"),
        ("a\ttab", "runs of spaces"),
        (
            "the { colour / color } of it",
            "several right spellings, { a / b }: scored by the best of them, taught as the first",
        ),
        ("less < more > less, R&D; 5 [", None),
        ("plain text", None),
    ],
)
def test_what_nobody_says_in_a_transcript_is_noted_with_examples(text: str, note: str | None) -> None:
    summary = summarize([utterance(text=text)], [Measured(5.0, 0.5, "x")], [None], [], [], [], Intake(), {})
    assert [found.startswith(note or "") for found in summary.notes] == ([True] if note else [])
    assert list(summary.examples.values()) == ([["u1"]] if note else [])


def test_clips_that_training_would_leave_out_are_counted() -> None:
    clips = [utterance(id="short"), utterance(id="long")]
    measured = [Measured(30.0, 0.5, "x"), Measured(30.5, 0.5, "y")]
    summary = summarize(clips, measured, [None, None], [], [], [], Intake(), {})
    assert summary.notes == {"longer than the 30 s that training takes unless data.max_duration_s is raised": 1}
    assert list(summary.examples.values()) == [["long"]]
