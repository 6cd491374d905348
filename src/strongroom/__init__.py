"""Strongroom stores keys in the cloud so that only the people named by the depositor can read them."""
