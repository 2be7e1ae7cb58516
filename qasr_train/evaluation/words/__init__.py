"""How sure a system was of each word it wrote, and how far that can be trusted; how normalised words hang on written ones."""
