-- Where the last seconds begin, and the first whole hour in them.
(
    SELECT w.begins, date_trunc('hour', w.begins, 'UTC') + interval '1 hour' AS first_hour
    FROM (
        SELECT now() - make_interval(secs => CAST(:seconds AS double precision)) AS begins
    ) AS w
)
