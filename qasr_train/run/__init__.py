"""One run on its machines: directory, tracker, device, processes, interruption."""
