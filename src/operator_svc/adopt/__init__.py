"""Bringing a legacy database of VX11 in."""
