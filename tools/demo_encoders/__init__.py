"""How the demo's small encoders are trained and measured: data, models, losses; `python -m tools.demo_encoders`."""
