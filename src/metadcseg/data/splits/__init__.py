"""Which case has which role."""
