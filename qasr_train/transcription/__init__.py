"""Model and utterances -> predictions."""
