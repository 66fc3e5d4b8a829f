"""The lab: data, models, attacks and what they cost. Needs the `lab` extra (PyTorch)."""
