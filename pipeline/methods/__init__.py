"""One folder per method; see `pipeline.methods.registry`."""
