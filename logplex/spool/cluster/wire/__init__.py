# SPDX-License-Identifier: Apache-2.0

"""
The wire formats of a shard: its scripts, and their arguments and answers.
"""
