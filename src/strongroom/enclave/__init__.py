"""Measured code: the Vault, the Authenticator and what both run on."""
