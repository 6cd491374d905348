"""Where ciphertext rests."""
