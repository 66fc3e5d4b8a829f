"""What a thief who knows the detector does to its queries: it blinds them (§VII-A)."""
