"""Settings of the jobs that ask whether figures can be trusted."""
