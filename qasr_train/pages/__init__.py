"""How the small HTML pages look that jobs leave beside their figures."""
