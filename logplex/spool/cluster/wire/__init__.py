"""
The wire formats of a shard: its scripts, and their arguments and answers.
"""
