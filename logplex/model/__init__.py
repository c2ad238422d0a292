"""
The values of the configuration: channels, tokens, drains, credentials. Frozen, and without I/O.
"""
