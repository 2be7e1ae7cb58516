"""The job that answers over a connection."""
