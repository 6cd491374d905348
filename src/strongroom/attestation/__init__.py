"""Evidence in, claims or a reasoned refusal out; pure."""
