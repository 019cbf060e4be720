"""Floor `context`: video and text embeddings, and the object and scene concepts."""
