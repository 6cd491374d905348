"""The share server: blobs of ciphertext, the page that reads them, and its way to Vault and Authenticators."""
