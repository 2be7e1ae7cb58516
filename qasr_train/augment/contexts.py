"""Owns what stands in the system turn: terms offered to the model, those spoken and distractors; a description; nothing at all.

Input: an utterance, a term list, a random generator. Output: the utterance with its context. Training draws anew for every
utterance and epoch, so that the model learns to use a term that is spoken and to leave one that is not; evaluation offers
the same three ways to everyone.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qasr_train.augment.settings import ContextConfig, ContextKind
from qasr_train.augment.variants import utterance_rng
from qasr_train.errors import ConfigError, DataError
from qasr_train.manifest import Utterance
from qasr_train.text.alternatives.notation import first_spelling
from qasr_train.text.normalize import get_normalizer
from qasr_train.text.terms import TermFinder, read_terms

if TYPE_CHECKING:  # it brings torch, which scoring does without
    from qasr_train.batch import Recording

# The rules by which a term counts as spoken; not the default's, which move: a resumed training offers what it would have.
_NORMALIZER = "qasr-1"


@dataclass
class TermOffer:
    """Offers listed terms to utterances: those spoken, those not. terms: the list, in the spelling to be offered."""

    terms: Sequence[str]
    _finders: dict[str | None, TermFinder] = field(default_factory=dict, init=False, repr=False)

    def spoken_in(self, utterance: Utterance) -> list[str]:
        """The listed terms in the transcript, by the rules of the normaliser, in the order of the list."""
        normalizer, language = get_normalizer(_NORMALIZER), utterance.language
        if language not in self._finders:
            self._finders[language] = TermFinder([(term, term) for term in self.terms], normalizer, language)
        found = self._finders[language].present(normalizer.normalize(first_spelling(utterance.text or ""), language))
        return [term for term in self.terms if term in found] if found else []

    def draw(self, utterance: Utterance, rng: np.random.Generator, *, num_distractors: int, with_spoken: bool) -> str:
        """The context: distractors (none of them spoken), and the spoken terms if asked, in random order, by commas.

        A list with too few unspoken terms gives all it has.
        """
        spoken = self.spoken_in(utterance)
        # Drawing from the whole list and leaving out the few spoken is quicker than listing the unspoken.
        wanted = min(len(self.terms), num_distractors + len(spoken))
        drawn = rng.choice(len(self.terms), size=wanted, replace=False)
        heard = set(spoken)
        offered = [self.terms[i] for i in drawn if self.terms[i] not in heard][:num_distractors]
        if with_spoken:
            offered += spoken
        return ", ".join(offered[i] for i in rng.permutation(len(offered)))


@dataclass
class ContextDrawer:
    """Draws the context of training rows; picklable, runs in loader workers. seed: of the run."""

    config: ContextConfig
    offer: TermOffer
    descriptions: Sequence[str]
    seed: int = 0

    def __call__(self, recording: "Recording", epoch: int) -> "Recording":
        """The recording with the context drawn for it in this epoch; a function of seed, epoch and utterance alone."""
        rng = utterance_rng(self.seed, epoch, recording.utterance, "context")
        kinds = [kind for kind, share in self.config.shares().items() if share]
        shares = [self.config.shares()[kind] for kind in kinds]
        kind = kinds[int(rng.choice(len(kinds), p=np.asarray(shares) / sum(shares)))]
        if kind is ContextKind.own:
            is_bare = not recording.utterance.context and rng.random() < self.config.served
            return dataclasses.replace(recording, has_system_turn=False) if is_bare else recording
        utterance = dataclasses.replace(recording.utterance, context=self._context(kind, recording.utterance, rng))
        return dataclasses.replace(recording, utterance=utterance, has_system_turn=kind is not ContextKind.no_turn)

    def _context(self, kind: ContextKind, utterance: Utterance, rng: np.random.Generator) -> str | None:
        if kind in (ContextKind.spoken, ContextKind.distractors):
            # Log-uniform: short lists are what most people send, long ones what must not confuse the model.
            low, high = self.config.min_distractors, self.config.max_distractors
            number = round(float(np.exp(rng.uniform(np.log(low), np.log(high)))))
            with_spoken = kind is ContextKind.spoken
            return self.offer.draw(utterance, rng, num_distractors=number, with_spoken=with_spoken)
        if kind is ContextKind.description:
            return self.descriptions[int(rng.integers(len(self.descriptions)))]
        return None


def make_context_drawer(config: ContextConfig, *, seed: int) -> ContextDrawer | None:
    """What draws as the config says; None where every row keeps its own context, and an empty turn where it has none.

    Raises:
        ConfigError: a file is not there. DataError: it is empty or no text.
    """
    if not config.is_on:
        return None
    terms = read_offered_terms(config.terms, "context.terms") if config.terms else []
    descriptions = _read_lines(config.descriptions, "context.descriptions") if config.descriptions else []
    return ContextDrawer(config, TermOffer(terms), descriptions, seed)


def read_offered_terms(path: str | Path, key: str) -> list[str]:
    """The terms of a list in their first spelling, each once, in the order of the file; raises as `read_terms`."""
    return list(dict.fromkeys(read_terms(path, key).spellings.values()))


def _read_lines(path: str, key: str) -> list[str]:
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise ConfigError(
            f"{key}={path}: cannot be read ({error.strerror}); name a text file with one a line"
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    found = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not found:
        raise DataError(f"{path}: holds no line of text; write one description a line")
    return found
