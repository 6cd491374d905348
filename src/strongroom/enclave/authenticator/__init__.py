"""Decides OK or DENY; never sees a stored secret."""
