"""One module of handlers for each resource."""
