"""The AI SDK's stream in front of the same services, for ``useChat`` and what is built on it."""
