"""Layouts of corpora that other tools keep: Kaldi's, lhotse's, files of times beside recordings."""
