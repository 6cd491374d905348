"""Shares: files for people, sealed on this machine, kept as a blob by a host and opened with a key from the Vault."""
