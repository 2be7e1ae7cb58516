"""The loop, and what stands beside it: saving, validation, schedule, processes."""
