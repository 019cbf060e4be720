"""How the demo's small encoders are trained: data, models, losses and measurements."""
