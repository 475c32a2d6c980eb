"""The protocol, pure: bodies, frames, events, server-sent events and text; no input or output."""
