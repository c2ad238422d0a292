"""
Sessions: a channel's recent messages, and its live ones for as long as somebody reads.

None of these classes has a ``repr`` of its fields: they hold messages and session URLs, which no
log may show.
"""
