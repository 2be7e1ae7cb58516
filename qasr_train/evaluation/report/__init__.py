"""Scores and comparisons -> tables, pictures, pages."""
