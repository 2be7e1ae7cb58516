"""Parts of a run: by a key, sorted, each measured once."""

from qasr_train.evaluation.scoring.groups import Groups


def test_parts_of_the_same_items_are_measured_once():
    measured = []

    def measure(part):
        measured.append(list(part))
        return sum(part)

    groups = Groups([3, 1, 2], measure)
    assert groups.by(lambda item: "all") == {"all": 6}
    assert groups.by(lambda item: "the only language") == {"the only language": 6}
    assert list(groups.by(lambda item: -item).items()) == [(-3, 3), (-2, 2), (-1, 1)]
    assert measured == [[3, 1, 2], [3], [2], [1]]
