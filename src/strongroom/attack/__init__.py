"""A hostile host for your own deployment: what it does, who notices, and what the documents promise of that.

Everything here is done from outside of the enclaves, by what every host has: processes, files, the database, the
network, the clock. Nothing in the product knows of it.
"""
