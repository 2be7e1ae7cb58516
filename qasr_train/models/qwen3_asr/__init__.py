"""Qwen3-ASR: speech encoder, projector and Qwen3 language model."""
