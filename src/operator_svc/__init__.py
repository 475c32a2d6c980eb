"""Operator, a chat backend in front of VX11's Switch or any OpenAI-compatible server."""

__version__ = "0.1.0"
