"""The system as it is now."""
