-- The messages and parts that the user's message u and the reply a to it keep for the engine.
(u.metadata -> 'openai') - ARRAY['parameters', 'response', 'messages', 'instructions'] AS asked,
(a.metadata -> 'openai') - ARRAY['parameters', 'response', 'messages', 'instructions'] AS replied
