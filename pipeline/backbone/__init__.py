"""Floor `backbone`: video-level features."""
