"""The pages that people read: the demonstration, and the reproduction."""
