"""Long tests of what Ganvas promises under faults: `python3 dev.py soak`."""
