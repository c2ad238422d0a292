"""
Where things are kept: in one process (``embedded``), or in Redis for a cluster (``redis`` the
configuration and the links, ``shards`` the spool).
"""
