"""The jobs a person runs, one for each recipe: NAME.py is recipes/NAME.py."""
