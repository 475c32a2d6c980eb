-- What feedback that is given anew replaces.
engine = excluded.engine, success = excluded.success, latency_ms = excluded.latency_ms,
tokens_used = excluded.tokens_used, error_message = excluded.error_message
