"""Whisper: the encoder-decoder of OpenAI that everybody compares with; any size, transcription only."""
