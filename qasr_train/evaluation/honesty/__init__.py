"""Whether a model knows a test set by heart: probes of what it could not have heard."""
