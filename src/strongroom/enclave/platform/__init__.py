"""The port between enclave code and the machine, and its back ends."""
