"""A setting, from its declaration to a checked config; the frame every recipe runs in."""
