-- The index of waiting tasks by their time alone: claims look at one user's tasks at a time.
-- depends: 0025.event_days_alone

DROP INDEX operator_browser_task_waiting;
