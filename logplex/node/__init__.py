# SPDX-License-Identifier: Apache-2.0

"""
The parts of a node: made, started and stopped in order, listening on its ports.

The only room that sees all others.
"""
