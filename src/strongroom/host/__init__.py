"""Untrusted: carries sealed messages, keeps ciphertext."""
