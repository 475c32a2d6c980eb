-- The bytes of a session s as lists show it: the rest is bounded.
coalesce(octet_length(CAST(s.metadata AS text)), 0)
