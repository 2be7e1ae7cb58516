"""Jobs that ask whether figures can be trusted: was a test set learned, do all routes to a model give the same words."""
