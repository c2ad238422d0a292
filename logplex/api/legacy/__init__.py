# SPDX-License-Identifier: Apache-2.0

"""
The legacy API, versions 1 and 2.
"""
