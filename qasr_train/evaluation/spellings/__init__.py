"""Scoring against several right spellings: which one each place of a reference is held against."""
