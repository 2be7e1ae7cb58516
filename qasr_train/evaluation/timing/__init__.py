"""How right an aligner is: its times beside references, and beside those of simpler means."""
