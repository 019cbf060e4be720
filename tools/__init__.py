"""Programs that made what the package ships; nothing here is installed."""
