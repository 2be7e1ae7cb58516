"""What is offered to whom: true terms and distractors by hand-made lists, shares by counting, seeds by drawing twice."""

import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qasr_train.augment.contexts import ContextDrawer, TermOffer, make_context_drawer
from qasr_train.augment.settings import ContextConfig
from qasr_train.batch import Recording
from qasr_train.errors import ConfigError, DataError
from tests.helpers import utterance

TERMS = ["Ramipril", "atrial fibrillation", "Marcumar", "stent", "Ibuprofen 600", "ST-Hebung"]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def recording(text: str = "the stent and ramipril.", **fields: Any) -> Recording:
    return Recording(utterance(text=text, **fields), np.zeros(8, np.float32))


def drawer(tmp_path: Path, **settings: Any) -> ContextDrawer:
    (tmp_path / "terms.txt").write_text("# drugs\n" + "\n".join(TERMS) + "\n")
    (tmp_path / "about.txt").write_text("Cardiology ward round.\n\nRadiology report.\n")
    files = {"terms": str(tmp_path / "terms.txt"), "descriptions": str(tmp_path / "about.txt")}
    made = make_context_drawer(ContextConfig(**files, own=0.0, **settings), seed=3)
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("Give Ramipril and the STENT!", ["Ramipril", "stent"]),
        ("stents, ramiprils", []),  # other words
        ("in atrial fibrillation", ["atrial fibrillation"]),
        ("atrial flutter, then fibrillation", []),  # not in a row
        ("", []),
    ],
)
def test_the_spoken_terms_are_found_by_their_words(text: str, spoken: list[str]) -> None:
    assert TermOffer(TERMS).spoken_in(utterance(text=text)) == spoken


def test_spoken_terms_stand_among_distractors_that_are_not_spoken() -> None:
    offer = TermOffer(TERMS)
    places = Counter()
    for seed in range(60):
        offered = offer.draw(recording().utterance, rng(seed), num_distractors=2, with_spoken=True).split(", ")
        assert len(offered) == len(set(offered)) == 4
        assert {"Ramipril", "stent"} < set(offered) <= set(TERMS)
        places[offered.index("stent")] += 1
    assert set(places) == {0, 1, 2, 3}  # the place gives nothing away


def test_distractors_alone_hold_no_spoken_term_and_a_short_list_gives_all_it_has() -> None:
    offered = TermOffer(TERMS).draw(recording().utterance, rng(), num_distractors=2000, with_spoken=False)
    assert sorted(offered.split(", ")) == sorted(set(TERMS) - {"Ramipril", "stent"})


def test_every_kind_appears_at_its_share(tmp_path: Path) -> None:
    draw = drawer(
        tmp_path,
        spoken=0.4,
        distractors=0.2,
        description=0.1,
        empty=0.2,
        no_turn=0.1,
        min_distractors=1,
        max_distractors=3,
    )
    own = recording(context="its own")
    kinds = Counter()
    for epoch in range(2000):
        drawn = draw(own, epoch)
        context = drawn.utterance.context
        assert context != "its own" and replace(drawn.utterance, context=None) == replace(own.utterance, context=None)
        if not drawn.has_system_turn:
            kinds["no_turn"] += context is None
        elif context is None:
            kinds["empty"] += 1
        elif context in ("Cardiology ward round.", "Radiology report."):
            kinds["description"] += 1
        else:
            offered = context.split(", ")
            is_spoken = "stent" in offered
            assert 1 <= len(offered) - 2 * is_spoken <= 3
            kinds["spoken" if is_spoken else "distractors"] += 1
    shares = {kind: number / 2000 for kind, number in kinds.items()}
    expected = {"spoken": 0.4, "distractors": 0.2, "description": 0.1, "empty": 0.2, "no_turn": 0.1}
    assert shares == pytest.approx(expected, abs=0.04)  # 4 standard deviations of the largest are 0.044


def test_the_same_epoch_draws_the_same_also_in_a_worker(tmp_path: Path) -> None:
    draw = drawer(tmp_path, spoken=1.0, min_distractors=1, max_distractors=4)
    draw(recording(), 1)  # what was found before must not matter
    copied = pickle.loads(pickle.dumps(draw))
    drawn = [str(one(recording(), 7).utterance.context) for one in (draw, copied)]
    assert drawn[0] == drawn[1]
    assert len({draw(recording(), epoch).utterance.context for epoch in range(20)}) > 5


def test_by_default_every_row_keeps_its_own() -> None:
    assert make_context_drawer(ContextConfig(), seed=0) is None
    made = make_context_drawer(ContextConfig(own=0.5, empty=0.5), seed=0)
    assert made is not None
    seen = {made(recording(context="mine"), epoch).utterance.context for epoch in range(20)}
    assert seen == {"mine", None}


def test_a_row_without_a_context_has_an_empty_turn_or_none_and_one_with_a_context_keeps_it() -> None:
    made = make_context_drawer(ContextConfig(served=0.5), seed=0)
    assert made is not None
    rows = [(recording(context=context), epoch) for context in (None, "", "mine") for epoch in range(400)]
    drawn = [made(row, epoch) for row, epoch in rows]
    assert all(one.has_system_turn and one.utterance.context == "mine" for one in drawn[800:])
    assert not any(one.utterance.context for one in drawn[:800])
    with_turn = [one.has_system_turn for one in drawn[:800]]
    assert sum(with_turn) == pytest.approx(400, abs=57)  # 4 standard deviations
    assert [made(row, epoch).has_system_turn for row, epoch in rows[:800]] == with_turn  # as a resumed run draws it


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"own": 0.5, "served": 0.5}, "context: the shares own 0.5 . spoken 0 .* add up to 0.5; they must make 1"),
        ({"own": 0.5, "spoken": 0.5}, "context.spoken=0.5 needs context.terms=FILE"),
        ({"own": 0.9, "description": 0.1}, "context.description=0.1 needs context.descriptions=FILE"),
        ({"own": 1.5, "empty": -0.5}, "context.own=1.5: expected at least 0 and at most 1"),
        ({"min_distractors": 50, "max_distractors": 10}, "min_distractors=50 is more than context.max_distractors=10"),
        ({"max_distractors": 2001}, "context.max_distractors=2001: expected at least 1 and at most 2000"),
    ],
)
def test_shares_that_contradict_each_other_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ContextConfig(**settings)


def test_a_missing_or_empty_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="context.terms=gone.txt: cannot be read"):
        make_context_drawer(ContextConfig(own=0, distractors=1, terms="gone.txt"), seed=0)
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(DataError, match="empty.txt: holds no line of text"):
        make_context_drawer(ContextConfig(own=0, description=1, descriptions=str(tmp_path / "empty.txt")), seed=0)
