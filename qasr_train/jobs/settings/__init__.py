"""The settings of each job; no module here imports torch, so that a config is composed and checked at once."""
