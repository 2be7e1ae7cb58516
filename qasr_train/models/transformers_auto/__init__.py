"""Any other recogniser transformers can load by itself and that wants nothing but audio; transcription only."""
