"""Exports: a checkpoint of any family that has one becomes a directory that others load, with a model card."""
