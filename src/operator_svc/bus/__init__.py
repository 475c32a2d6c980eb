"""News between pods: which sessions have something new."""
