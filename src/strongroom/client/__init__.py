"""The user's side: the SDK."""
