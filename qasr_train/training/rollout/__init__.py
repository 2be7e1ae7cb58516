"""What a model says of its training clips, what that is worth, and the batches that are learned from it."""
