"""What must not get worse while a run trains."""
