# SPDX-License-Identifier: Apache-2.0

"""
The way to a receiver: names, denied addresses, TLS, and errors in words.
"""
