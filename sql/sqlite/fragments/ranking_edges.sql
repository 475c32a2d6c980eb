-- Where the last seconds begin, and the first whole hour in them.
(
    SELECT
        now(-1 * :seconds) AS begins,
        substr(now(3600 - :seconds), 1, 13) || ':00:00.000000Z' AS first_hour
)
