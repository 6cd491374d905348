"""Audits of a Vault's log by whoever has a copy of it: no session, no right, no trust in who keeps it."""
