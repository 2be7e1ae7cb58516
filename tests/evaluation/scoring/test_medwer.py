"""The figures of `terms=medical` against medwer's own `medical_wer` on texts normalised alike; skips where it is missing."""

import random

import pytest

from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.text.normalize import get_normalizer
from qasr_train.text.terms import TermList, read_terms
from qasr_train.transcription.predictions import Prediction


def test_medical_terms_and_their_error_rate_equal_medwers():
    medwer = pytest.importorskip("medwer", reason="needs medwer (pip install medwer)")
    rng, listed = random.Random(3), read_terms("medical")
    assert listed.num_terms == len(medwer.load_terms(medwer.default_terms_path())[0]) == 19_373
    # Hundreds of them are enough, and quick to look for: those that may stand in each other are among them.
    terms = [*rng.sample(sorted(listed.spellings), 300), "insulin", "insulin glargine", "fever", "pain"]
    words = ["the", "patient", "takes", "500", "mg", "of", *terms]
    pairs = []
    for _ in range(150):
        said = rng.choices(words, k=12)
        heard = [rng.choice(words) if rng.random() < 0.15 else word for word in said if rng.random() > 0.1]
        pairs.append((" ".join(said), " ".join(heard)))
    rows = [Prediction(None, None, None, *pair, id=str(n), set="s", language="English") for n, pair in enumerate(pairs)]
    ours = score_predictions(
        rows, get_normalizer("none"), terms=TermList("t", "d", {one: one for one in terms})
    ).entities
    edits, spoken = map(sum, zip(*(medwer.medical_wer(*pair, terms)[:2] for pair in pairs), strict=True))
    assert (ours.overall.num_term_errors, ours.overall.num_spoken) == (edits, spoken)
    assert ours.overall.term_error_percent == round(100 * edits / spoken, 2)
