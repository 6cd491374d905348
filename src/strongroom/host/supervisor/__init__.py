"""Starts enclaves and keeps them running."""
