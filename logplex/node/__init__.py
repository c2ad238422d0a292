# SPDX-License-Identifier: Apache-2.0

"""
The parts of a node: they are made, started and stopped in order, and listen on the node's ports.

Only this package may import all other packages of Logplex.
"""
