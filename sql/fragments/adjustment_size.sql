-- The bytes of an adjustment a.
coalesce(octet_length(CAST(a.before_config AS text)), 0)
+ coalesce(octet_length(CAST(a.after_config AS text)), 0)
+ octet_length(a.reason) + coalesce(octet_length(a.error), 0)
