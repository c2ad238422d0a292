# SPDX-License-Identifier: Apache-2.0

"""
Connections to receivers: name lookups, denied addresses, TLS, and texts for errors.
"""
