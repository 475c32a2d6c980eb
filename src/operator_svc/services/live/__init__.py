"""Sessions as clients see them: feeds, subscriptions, send queues."""
