"""The three conditions, on a hand-made list: who is offered what."""

from pathlib import Path

import pytest

from qasr_train.errors import ConfigError
from qasr_train.evaluation.settings import ContextConditionsConfig, Offer
from qasr_train.evaluation.suites.context_conditions import under_conditions
from tests.helpers import utterance

TERMS = {"Ramipril", "stent", "Marcumar", "edema", "biopsy"}
ROWS = [
    utterance(id="a", text="the stent and ramipril", context="its own"),
    utterance(id="b", text="nothing of it"),
    utterance(id="c", text="biopsy"),
]


@pytest.fixture
def config(tmp_path: Path) -> ContextConditionsConfig:
    (tmp_path / "terms.txt").write_text("\n".join(sorted(TERMS)))
    return ContextConditionsConfig(terms=str(tmp_path / "terms.txt"), num_distractors=2)


def offered(context: str | None) -> set[str]:
    return set(context.split(", ")) if context else set()


def test_each_condition_offers_what_its_name_says(config: ContextConditionsConfig) -> None:
    found = under_conditions(ROWS, config)
    assert list(found) == [Offer.nothing, Offer.spoken, Offer.distractors]
    assert all([u.id for u in rows] == ["a", "b", "c"] for rows in found.values())
    assert [u.context for u in found[Offer.nothing]] == [None, None, None]
    spoken = [{"stent", "Ramipril"}, set(), {"biopsy"}]
    for heard, with_terms, without in zip(spoken, found[Offer.spoken], found[Offer.distractors], strict=True):
        distractors = offered(without.context)
        assert len(distractors) == 2 and distractors <= TERMS - heard
        assert offered(with_terms.context) == heard | distractors  # the same distractors in both
        assert without.text == with_terms.text


def test_what_is_offered_depends_on_the_seed_and_the_id_alone(config: ContextConditionsConfig) -> None:
    alone = under_conditions(ROWS[2:], config)
    together = under_conditions(ROWS, config)
    assert all(alone[kind][0] == together[kind][2] for kind in Offer)
    contexts = set()
    for seed in range(10):
        config.seed = seed
        contexts.add(under_conditions(ROWS, config)[Offer.distractors][1].context)
    assert len(contexts) > 3


def test_utterances_without_a_term_can_be_left_out(config: ContextConditionsConfig) -> None:
    config.only_with_terms = True
    assert [u.id for u in under_conditions(ROWS, config)[Offer.nothing]] == ["a", "c"]


def test_a_missing_list_names_the_setting() -> None:
    with pytest.raises(ConfigError, match="suite.context.terms=gone.txt: cannot be read"):
        under_conditions(ROWS, ContextConditionsConfig(terms="gone.txt"))
