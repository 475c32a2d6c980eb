-- True for a key that a repeated call has made: a call that came before it, and is stored after it, is the same.
-- depends: 0018.reply_attempt

ALTER TABLE operator_chat_key ADD COLUMN repeated boolean NOT NULL DEFAULT FALSE;
