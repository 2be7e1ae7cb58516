"""Formats of tiers, and which of a file's tiers hold what was said."""
