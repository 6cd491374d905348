"""The host's half of the log: keeps what proofs are made of, and makes them. Nobody believes it; everybody checks."""
