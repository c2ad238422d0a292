"""
One shard: the links to its Redis, what waits for it, and who follows its channels.
"""
