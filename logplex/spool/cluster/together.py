"""
Conversations with several shards at a time.
"""

from logplex.waiting import together

__all__ = ["together"]
