"""Rows padded to one width, by hand."""

from qasr_train.batch import IGNORED as X
from qasr_train.models.blocks.rows import TokenRow, pad_labelled, pad_rows

ROWS = [TokenRow([5, 6], [7]), TokenRow([5], []), TokenRow([], [8, 9])]


def test_padding_stands_behind_the_rows_and_is_not_supervised() -> None:
    input_ids, mask, labels = pad_rows(ROWS, 0)
    assert input_ids.tolist() == [[5, 6, 7], [5, 0, 0], [8, 9, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0]]
    assert labels.tolist() == [[X, X, 7], [X, X, X], [8, 9, X]]


def test_padding_on_the_left_moves_everything_together() -> None:
    input_ids, mask, labels = pad_rows(ROWS, 0, on_left=True)
    assert input_ids.tolist() == [[5, 6, 7], [0, 0, 5], [0, 8, 9]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1], [0, 1, 1]]
    assert labels.tolist() == [[X, X, 7], [X, X, X], [X, 8, 9]]


def test_labels_may_be_other_numbers_than_the_ids() -> None:
    input_ids, _, labels = pad_labelled([([1, 4], [X, 30]), ([1], [X])], 0)
    assert (input_ids.tolist(), labels.tolist()) == ([[1, 4], [1, 0]], [[X, 30], [X, X]])
