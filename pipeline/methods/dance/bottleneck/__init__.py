"""Floor `bottleneck`: concept layers, the sparse classifier and the model file."""
