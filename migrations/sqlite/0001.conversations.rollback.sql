DROP TABLE operator_pod;
DROP TABLE operator_chat_key;
DROP TABLE operator_event;
DROP TABLE operator_reply_chunk;
DROP TABLE operator_message_search;
DROP TABLE operator_message;
DROP TABLE operator_session;
