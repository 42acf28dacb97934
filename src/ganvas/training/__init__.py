"""A run: the loop, its checkpoints, what it measures as it goes, and its folder."""
