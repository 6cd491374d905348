"""`strongroom demo`: the whole, started, told and shown on this machine."""
