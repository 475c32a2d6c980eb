-- The bytes of an event e, with those of the message m that it is about.
coalesce(octet_length(CAST(e.data AS text)), 0) + coalesce(octet_length(m.content), 0)
+ coalesce(octet_length(CAST(m.metadata AS text)), 0)
