-- The moment so many days ago.
now() - make_interval(secs => CAST(:days AS double precision) * 86400)
