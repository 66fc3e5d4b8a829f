"""Figures of the paper, drawn from records and artefacts."""
