"""Any recording -> 16 kHz mono, or one sentence."""
