# SPDX-License-Identifier: Apache-2.0

"""
Routing: the registry of channels and their outlets, and the router that gives them messages.
"""
