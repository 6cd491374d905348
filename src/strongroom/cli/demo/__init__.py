"""`strongroom demo`: the whole, started, told and shown on this machine."""

from strongroom.cli.demo.command import demo

__all__ = ["demo"]
