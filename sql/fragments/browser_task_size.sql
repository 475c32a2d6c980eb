-- The bytes of a browser task t as lists show it.
octet_length(t.url) + coalesce(octet_length(t.error), 0)
+ coalesce(octet_length(t.result ->> 'title'), 0)
+ coalesce(octet_length(t.result ->> 'text_snippet'), 0)
+ coalesce(octet_length(t.result ->> 'final_url'), 0)
