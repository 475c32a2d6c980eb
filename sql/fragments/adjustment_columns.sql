-- The columns of an adjustment a.
a.id, a.session_id, a.message_id, a.before_config, a.after_config, a.reason, a.applied,
a.applied_at, a.reverted_at, a.error, a.owner, a.created_at
