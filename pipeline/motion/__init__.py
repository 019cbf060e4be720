"""Floor `motion`: poses, key clips, and motion dynamics concepts with their labels."""
