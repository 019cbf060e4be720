"""Colours of the types of concepts, the same in pictures, on pages and in notebooks."""

# Okabe and Ito's palette, distinguishable with colour blindness.
TYPE_COLOURS = {"motion": "#0072B2", "object": "#D55E00", "scene": "#009E73"}
