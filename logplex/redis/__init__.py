# SPDX-License-Identifier: Apache-2.0

"""
A client of Redis. All that it knows of Logplex is the errors that it raises.
"""
