"""
The API v1 and v2.
"""
