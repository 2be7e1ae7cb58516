"""Owns runs of words: by which two texts are told to be the same though neither is the whole of the other.

Input: utterances. Output: their words without case and punctuation; hashes of each run of so many.
"""

import unicodedata

from qasr_train.manifest import Utterance
from qasr_train.text.alternatives.notation import first_spelling
from qasr_train.text.languages import CER_LANGUAGES

NGRAM = 8  # words (characters where no spaces are written): shorter runs of words meet by chance


def plain_words(utterance: Utterance) -> list[str]:
    """Words without case and punctuation, characters where no spaces are written; of several right spellings the first."""
    text = first_spelling(utterance.text or "").lower()
    kept = "".join(c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in text)
    return list(kept.replace(" ", "")) if utterance.language in CER_LANGUAGES else kept.split()


def ngram_hashes(words: list[str], length: int = NGRAM) -> list[int]:
    """Hashes: a corpus of millions of rows fits in memory, and two runs of words with one hash are no worry."""
    return [hash(tuple(words[i : i + length])) for i in range(len(words) - length + 1)]
