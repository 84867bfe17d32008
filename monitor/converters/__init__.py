"""From data of others to recordings: one module a set, and what they share in `messages`."""
