ALTER TABLE operator_chat_key DROP COLUMN repeated;
