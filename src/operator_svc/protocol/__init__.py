"""The protocol: ids, headers, bodies, frames, events and text. Pure functions and structs only."""
