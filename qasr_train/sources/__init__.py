"""Any format -> utterances."""
