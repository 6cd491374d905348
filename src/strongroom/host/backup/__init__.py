"""Copies of a database: made while it serves, put back into either engine. No key is needed, and none is there."""
