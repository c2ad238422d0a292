# SPDX-License-Identifier: Apache-2.0

"""
Stand-ins that tests share: for the interfaces between rooms, for networks, receivers, senders and
Redis, and test cases that put a part of Logplex together on top of them.
"""
