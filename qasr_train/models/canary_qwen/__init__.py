"""Canary-Qwen: NVIDIA's FastConformer encoder before a Qwen3 language model with LoRA; transcription only."""
