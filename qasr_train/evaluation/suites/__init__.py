"""What a model is evaluated on."""
