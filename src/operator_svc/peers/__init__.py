"""Clients of the peers that Operator calls: all outbound HTTP of the service."""
