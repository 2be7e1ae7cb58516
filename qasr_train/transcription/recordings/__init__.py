"""Whole recordings: found, cut at silences, and put together again as segments with times."""
