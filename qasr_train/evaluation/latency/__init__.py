"""How soon the words of a stream stand, and how often they change before they do."""
