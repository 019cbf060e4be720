"""A finished run as the explorer shows it."""
