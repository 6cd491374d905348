"""A database as it is at one moment, for who audits it: read, never written."""
