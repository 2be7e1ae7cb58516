"""References with several right spellings: how they are written, and lexicons of equal spellings."""
