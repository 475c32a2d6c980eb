"""The use cases of Operator; no module here knows of HTTP or sockets."""
