"""The repositories: one module per table, rows in, frozen records out."""
