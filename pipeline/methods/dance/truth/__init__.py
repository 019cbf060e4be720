"""The model against the known truth of the demo: where its concepts look, and whether they follow the factors."""
