"""Files that others made or want to read: result folders, matrices, poses. Nothing in them is executed."""
