DROP TABLE operator_adopted;
DROP TABLE operator_switch_feedback;
DROP TABLE operator_switch_adjustment;
DROP TABLE operator_browser_task;
DROP TABLE operator_tool_call;
