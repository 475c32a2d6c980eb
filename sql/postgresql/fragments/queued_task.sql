-- The data of the event of a task that was added: what Python knows of it, and its own time.
CAST(:data AS jsonb) || jsonb_build_object(
    'created_at', to_char(a.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
)
