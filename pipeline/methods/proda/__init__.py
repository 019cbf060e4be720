"""ProDA: what any given set of actions looks like in a video, on scene graphs (Wu et al. 2025)."""
