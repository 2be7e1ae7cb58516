"""The table of utterances in a report: which stand in it, in which order, and what is told of each."""
