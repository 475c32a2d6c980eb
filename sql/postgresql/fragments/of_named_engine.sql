-- True where feedback f is of the engine n. BETWEEN makes the planner expect few rows of an engine, and so
-- use the index that holds all that is read.
(f.engine BETWEEN n.engine AND n.engine)
