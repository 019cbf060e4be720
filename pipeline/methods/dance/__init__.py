"""DANCE joined with SALF-CBM: a concept bottleneck of motion dynamics, objects and scenes; see README.md here."""
