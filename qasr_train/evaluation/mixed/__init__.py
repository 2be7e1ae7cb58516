"""Errors of sets in which two languages meet in one utterance."""
