"""A finished run in the browser, live or as a folder."""
