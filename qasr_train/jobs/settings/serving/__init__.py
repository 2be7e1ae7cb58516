"""Settings of the job that answers over a connection."""
