-- True where feedback f is of the engine n.
n.engine = f.engine
