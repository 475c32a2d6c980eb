-- True where a tool call c is of one of the messages of a list.
c.message_id IN (SELECT value FROM json_each(:message_ids))
