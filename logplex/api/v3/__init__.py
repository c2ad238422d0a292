"""
The API v3.
"""
