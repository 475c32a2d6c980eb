-- The sessions, of which one is that of a row f.
operator_session
