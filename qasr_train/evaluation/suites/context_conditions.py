"""Owns the three ways in which a set is evaluated with offered terms: none, the spoken ones among distractors, distractors alone.

Input: a set's utterances and a term list. Output: the same utterances under each condition. What is offered is a function of seed
and utterance id, so the same on every machine, in every batch, for every model.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from qasr_train.augment.contexts import MAX_DISTRACTORS, TermOffer, read_offered_terms
from qasr_train.augment.variants import utterance_rng
from qasr_train.config.settings import check_settings, setting
from qasr_train.manifest import Utterance


class Offer(str, Enum):
    """What stands in the system turn; the value ends the name of the set under this condition."""

    nothing = "no context"
    spoken = "spoken terms + distractors"
    distractors = "distractors only"


@dataclass
class ContextConditionsConfig:
    """Evaluating every set three times: without context, with the spoken terms among distractors, with distractors alone."""

    terms: str | None = setting(None, help="path; term list, a term a line, from which terms are offered. null: off")
    num_distractors: int = setting(20, ge=1, le=MAX_DISTRACTORS, help="terms; distractors offered to each utterance")
    only_with_terms: bool = setting(
        False, help="whether to leave out utterances in which no term of the list is spoken; else all are kept"
    )
    seed: int = setting(0, ge=0, help="seed of which distractors, and of their order")

    def __post_init__(self) -> None:
        check_settings(self, "suite.context")


def under_conditions(utterances: Sequence[Utterance], config: ContextConditionsConfig) -> dict[Offer, list[Utterance]]:
    """The utterances under each condition, in their order; their own contexts are replaced.

    Raises:
        ConfigError, DataError: the term list cannot be read.
    """
    assert config.terms is not None
    offer = TermOffer(read_offered_terms(config.terms, "suite.context.terms"))
    if config.only_with_terms:
        utterances = [utterance for utterance in utterances if offer.spoken_in(utterance)]
    return {kind: [_under(one, kind, offer, config) for one in utterances] for kind in Offer}


def _under(utterance: Utterance, kind: Offer, offer: TermOffer, config: ContextConditionsConfig) -> Utterance:
    if kind is Offer.nothing:
        return dataclasses.replace(utterance, context=None)
    # The same seed for both: the same distractors with the spoken terms and without.
    rng = utterance_rng(config.seed, 0, utterance, "offered")
    with_spoken = kind is Offer.spoken
    context = offer.draw(utterance, rng, num_distractors=config.num_distractors, with_spoken=with_spoken)
    return dataclasses.replace(utterance, context=context or None)
