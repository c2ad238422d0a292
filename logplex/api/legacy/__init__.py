# SPDX-License-Identifier: Apache-2.0

"""
The API v1 and v2.
"""
