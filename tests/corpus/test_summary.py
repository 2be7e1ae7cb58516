"""What `prepare` reports of a corpus."""

from qasr_train.corpus.summary import Reject


def test_kinds_of_reasons_do_not_depend_on_names_and_numbers() -> None:
    reasons = ["lasts 0.05 s, less than min_duration_s=0.1", "lasts 0.07 s, less than min_duration_s=0.1"]
    assert len({Reject("i", "a", "o", reason).kind for reason in reasons}) == 1
    assert (
        Reject("i", "a", "o", "same sound and text as u 7").kind
        == Reject("i", "a", "o", "same sound and text as x").kind
    )
