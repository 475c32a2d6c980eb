"""The generator of the client in Python."""
