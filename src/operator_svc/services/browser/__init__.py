"""Browser tasks: stored, claimed and run."""
