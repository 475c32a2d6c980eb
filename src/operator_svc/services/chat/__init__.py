"""Chats: starting, writing, following and reading replies."""
