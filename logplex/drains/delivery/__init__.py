# SPDX-License-Identifier: Apache-2.0

"""
The common part of all kinds of drains: buffer, couriers, pace and lifecycle.
"""
