"""Operator, the conversation backend of VX11."""

__version__ = "0.1.0"
