"""Jobs that hear recordings as they come."""
