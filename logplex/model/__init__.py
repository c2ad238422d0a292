# SPDX-License-Identifier: Apache-2.0

"""
The values of the configuration: channels, tokens, drains and credentials. The values are immutable
and do no I/O.
"""
