"""
What all kinds of drains have in common: buffer, pace and lifecycle.
"""
