"""
The configuration in a Redis that many nodes share.
"""
