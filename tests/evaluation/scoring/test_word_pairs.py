"""Two texts side by side: what counts as the same word."""

from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.evaluation.scoring.word_pairs import MAX_CELLS, WordPair, utterance_pairs, word_pairs
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction


def test_pairs_hold_one_of_each_side_or_nothing():
    assert list(word_pairs("the cat sat".split(), "the dog sat up".split(), merges_compounds=False)) == [
        WordPair("the", "the", True),
        WordPair("cat", "dog", False),
        WordPair("sat", "sat", True),
        WordPair("", "up", False),
    ]


def test_compounds_are_the_same_only_where_they_are_merged():
    texts = ["white", "paper"], ["whitepaper"]
    assert list(word_pairs(*texts, merges_compounds=True)) == [WordPair("white paper", "whitepaper", True)]
    assert not any(pair.is_same for pair in word_pairs(*texts, merges_compounds=False))


def test_characters_stand_side_by_side_in_languages_without_spaces_and_long_texts_do_not():
    rules = get_normalizer("none")
    length = int(MAX_CELLS**0.5) + 1
    texts = [("今天 好", "今夭好", "Chinese"), ("a " * length, "b " * length, "English")]
    rows = [Prediction(None, 1.0, 0.1, *pair, id=pair[0][:2], set="s", language=name) for *pair, name in texts]
    short, long = score_predictions(rows, rules).rows
    assert [pair.is_same for pair in utterance_pairs(short, rules)] == [True, False, True]
    assert utterance_pairs(long, rules) is None
