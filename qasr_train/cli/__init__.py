"""The command `qasr`: every recipe by its name, and what is known of this machine."""
