"""A cluster's spool: every channel's newest messages, numbered, on one of several Redis shards."""
