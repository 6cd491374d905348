"""The face for programs without asyncio (SKELETON): `Vault` has the methods of `AsyncVault`, blocking."""
