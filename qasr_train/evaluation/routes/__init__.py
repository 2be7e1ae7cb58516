"""Several routes to one model, heard on the same clips: are the words the same, and what does each cost."""
