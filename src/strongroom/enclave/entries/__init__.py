"""One measured entry file per enclave and platform."""
