"""Which finding about a corpus comes first."""

from qasr_train.corpus.findings import Finding, Severity, worst_first


def test_the_worse_comes_first_then_the_one_of_more_clips_then_the_one_found_first():
    found = [
        Finding(Severity.FACT, "rows", (), 1000),
        Finding(Severity.FAULT, "few", (), 1),
        Finding(Severity.LOOK, "mixed"),
        Finding(Severity.FAULT, "many", (), 9),
        Finding(Severity.LEAK, "speakers"),
        Finding(Severity.FAULT, "few too", (), 1),
    ]
    assert [one.text for one in worst_first(found)] == ["speakers", "many", "few", "few too", "mixed", "rows"]


def test_every_severity_has_a_heading():
    assert len({one.meaning for one in Severity}) == len(Severity)
