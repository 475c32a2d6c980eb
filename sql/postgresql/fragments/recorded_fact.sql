-- The data of the event of a new record, r, with what the database gave it.
CAST(:data AS jsonb) || jsonb_build_object(
    'id', r.id,
    'created_at', to_char(r.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
)
