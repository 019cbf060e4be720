"""Where boxes and relations come from: one reader per source, all ``read(...) -> Tables``."""
