# SPDX-License-Identifier: Apache-2.0

"""
A client of a node's API, and the formats that it reads and writes.
"""
