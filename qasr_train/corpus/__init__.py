"""What can be known of a corpus: checked recordings, splits, summary, audit."""
