"""When what was said: timed segments and words, and the formats that hold them."""
