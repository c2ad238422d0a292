# SPDX-License-Identifier: Apache-2.0

"""
The values of the configuration: channels, tokens, drains, credentials. Frozen, and without I/O.
"""
