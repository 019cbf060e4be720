"""Models that others published, and features for other programs."""
