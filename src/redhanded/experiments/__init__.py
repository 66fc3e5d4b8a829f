"""Worlds, cells, records and tables: what is measured, and how it is kept."""
