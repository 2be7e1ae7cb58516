"""Owns the three ways in which a set is evaluated with offered terms: none, the spoken ones among distractors, distractors alone.

Input: a set's utterances and a term list. Output: the same utterances under each condition. What is offered is a function of seed
and utterance id, so the same on every machine, in every batch, for every model.
"""

import dataclasses
from collections.abc import Sequence

from qasr_train.augment.contexts import TermOffer, read_offered_terms
from qasr_train.augment.variants import utterance_rng
from qasr_train.evaluation.settings import ContextConditionsConfig, Offer
from qasr_train.manifest import Utterance


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
