"""Bringing an old VX11 database in."""
