"""Probes: is the process alive, may it get traffic, what does it look like inside."""
