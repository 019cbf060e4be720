"""Declarations of stages and a configuration, turned into rules, targets and status."""
