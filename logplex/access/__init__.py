"""
The caller of a request, and what it is permitted to do.
"""
