"""The terminal of ``operator-svc chat``: where it talks to, what it shows, and its prompt."""
