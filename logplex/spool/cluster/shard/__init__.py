# SPDX-License-Identifier: Apache-2.0

"""
One shard: the links to its Redis, the messages that wait for it, and the followers of its channels.
"""
