"""Utterances -> batches: limits, mixture, plan of an epoch, loader workers, caches."""
