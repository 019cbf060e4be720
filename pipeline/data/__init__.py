"""Floor `data`: the raw tree becomes an index, model clips and the motion signal of every frame."""
