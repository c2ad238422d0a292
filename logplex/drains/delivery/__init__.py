"""
The common part of all kinds of drains: buffer, couriers, pace and lifecycle.
"""
