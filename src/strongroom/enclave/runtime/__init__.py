"""The door of an enclave: bytes in, bytes out; sessions; the clock floor."""
