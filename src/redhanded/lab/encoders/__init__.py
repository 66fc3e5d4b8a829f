"""Training of what detectors embed with."""
