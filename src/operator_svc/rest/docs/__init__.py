"""The published documents."""
