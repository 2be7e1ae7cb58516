"""How transcripts are written, held against how the references are: punctuation, capitals, numbers, units, fillers."""
