"""What is learned: a sum over supervised tokens, and their count."""
