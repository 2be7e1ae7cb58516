"""Rates by any column of the manifest: groups, the spread between them, what a comparison changed in each."""
