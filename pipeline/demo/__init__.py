"""The embedded demo: deterministic short videos of an articulated person, and their classes."""
