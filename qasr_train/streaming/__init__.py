"""Hearing a recording while it comes: chunk by chunk, with a text that grows."""
