-- True where a tool call c is of one of the messages of a list.
c.message_id = ANY(CAST(:message_ids AS bigint[]))
