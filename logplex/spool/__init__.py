"""
The newest messages of each channel, numbered: in memory, or on a cluster's shards.
"""
