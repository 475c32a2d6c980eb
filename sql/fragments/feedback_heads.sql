-- The oldest feedback of each engine that still has to be forwarded. Each step of the recursion is
-- one look into the index.
(
    WITH RECURSIVE heads (id, engine) AS (
        SELECT f.id, f.engine FROM operator_switch_feedback AS f
        WHERE
            f.id = (
                SELECT g.id FROM operator_switch_feedback AS g
                WHERE g.forwarded_at IS NULL AND g.given_up_at IS NULL
                ORDER BY g.engine, g.id
                LIMIT 1
            )
        UNION ALL
        SELECT f.id, f.engine
        FROM heads AS h
        INNER JOIN operator_switch_feedback AS f
            ON
                f.id = (
                    SELECT g.id FROM operator_switch_feedback AS g
                    WHERE
                        g.forwarded_at IS NULL AND g.given_up_at IS NULL
                        AND g.engine > h.engine
                    ORDER BY g.engine, g.id
                    LIMIT 1
                )
    )

    SELECT id, engine FROM heads
)
