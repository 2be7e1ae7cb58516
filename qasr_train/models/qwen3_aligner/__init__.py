"""Qwen3-ForcedAligner: when each word of a known text was said."""
