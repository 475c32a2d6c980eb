-- The reply m that this pod owns, so it is being written: to ask for its status would lead to the index of all
-- that are. It is known by when it began, too.
m.id = :reply_id AND m.session_id = :session_id AND m.created_at = :begun_at
AND m.owner = :pod_id
