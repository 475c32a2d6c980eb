-- The bytes of a tool call c.
octet_length(c.tool_name) + coalesce(octet_length(CAST(c.arguments AS text)), 0)
+ coalesce(octet_length(CAST(c.result AS text)), 0) + coalesce(octet_length(c.error), 0)
