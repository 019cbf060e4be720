"""Looking into caches: list, open, compare, explain what is stale, tidy up, export, show."""
