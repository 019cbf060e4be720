"""The comparisons of the DANCE supplement."""
