"""Adjustments of Switch's configuration, feedback on its engines, and their ranking."""
