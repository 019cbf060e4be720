"""What methods learn with: solvers, heads, the end of training, metrics."""
