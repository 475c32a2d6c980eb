"""The neighbours that Operator calls; the only outbound HTTP of the service."""
