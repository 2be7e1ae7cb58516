"""What words are the same: languages, styles, normalisers, term lists."""
