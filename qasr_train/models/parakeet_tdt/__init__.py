"""Parakeet TDT: NVIDIA's FastConformer with a token-and-duration transducer; transcription only."""
