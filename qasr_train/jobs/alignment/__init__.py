"""Jobs about when words were said."""
