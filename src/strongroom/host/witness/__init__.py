"""Witnesses: asking them, and being one."""
