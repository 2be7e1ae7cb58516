"""What an answer of the model is worth."""
