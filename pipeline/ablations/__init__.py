"""Comparisons with one thing changed: a table is a set of changed settings, and only what they change runs again."""
