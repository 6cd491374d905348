"""HTTP in front of an enclave."""
