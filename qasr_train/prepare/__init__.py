"""Preparing data: raw corpus -> checked manifest, rejects with reasons, summary. The job is in `job.py`."""
