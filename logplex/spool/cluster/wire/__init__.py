"""
What is stored on a shard and said to it: scripts and their formats.
"""
