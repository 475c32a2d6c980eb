-- The latency of a row c by which it is counted, to 2.5 %. What was added under one latency is taken
-- away under it again: another rounding needs another table.
CASE
    WHEN c.latency_ms < 50 THEN c.latency_ms
    WHEN c.latency_ms < 100 THEN (c.latency_ms + 1) / 2 * 2
    WHEN c.latency_ms < 200 THEN (c.latency_ms + 2) / 5 * 5
    WHEN c.latency_ms < 500 THEN (c.latency_ms + 5) / 10 * 10
    WHEN c.latency_ms < 1000 THEN (c.latency_ms + 10) / 20 * 20
    WHEN c.latency_ms < 2000 THEN (c.latency_ms + 25) / 50 * 50
    WHEN c.latency_ms < 5000 THEN (c.latency_ms + 50) / 100 * 100
    WHEN c.latency_ms < 10000 THEN (c.latency_ms + 100) / 200 * 200
    WHEN c.latency_ms < 20000 THEN (c.latency_ms + 250) / 500 * 500
    WHEN c.latency_ms < 50000 THEN (c.latency_ms + 500) / 1000 * 1000
    WHEN c.latency_ms < 100000 THEN (c.latency_ms + 1000) / 2000 * 2000
    WHEN c.latency_ms < 200000 THEN (c.latency_ms + 2500) / 5000 * 5000
    WHEN c.latency_ms < 500000 THEN (c.latency_ms + 5000) / 10000 * 10000
    WHEN c.latency_ms < 1000000 THEN (c.latency_ms + 10000) / 20000 * 20000
    ELSE (c.latency_ms + 25000) / 50000 * 50000
END
