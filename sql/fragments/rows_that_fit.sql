-- How many rows of the CTE page, which have a place and a size in bytes, a page takes from the first on:
-- as many as have no more than so many bytes together, and one at least.
(
    SELECT count(*) FROM (
        SELECT k.size, CAST(sum(k.size) OVER (ORDER BY k.place) AS bigint) AS total FROM page AS k
    ) AS q
    WHERE q.total <= :bytes OR q.total = q.size
)
