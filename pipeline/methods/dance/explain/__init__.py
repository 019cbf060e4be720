"""Floor `explain`: predictions with their reasons, in words and pictures."""
