"""The floor of scene graphs: who and what is in a video, where, and how they are related; shared by all methods."""
