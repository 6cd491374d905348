"""Fetches what quotes are appraised with from their makers, and keeps it: nothing here is trusted, or verifies."""
