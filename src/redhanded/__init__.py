"""Catch model thieves red-handed: a lab that measures model extraction, and the guard it measured."""

__version__ = "0.1.0"
