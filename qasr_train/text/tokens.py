"""Owns what of a normalised text is aligned: its words, or its characters."""

from qasr_train.text.languages import CER_LANGUAGES


def tokens(text: str, language: str | None) -> list[str]:
    """What the primary metric of a language counts: characters in languages written without spaces, words in others."""
    return list(text.replace(" ", "")) if language in CER_LANGUAGES else text.split()
