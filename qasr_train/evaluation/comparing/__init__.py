"""Two runs or several -> differences, and the gate's verdict."""
