# SPDX-License-Identifier: Apache-2.0

"""
The configuration in a Redis that many nodes share.
"""
