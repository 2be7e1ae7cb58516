"""Settings of jobs that hear recordings as they come."""
