"""Models: what every family offers, and one folder a family."""
