"""The websocket: who may open one, what it may ask, and how it ends."""
