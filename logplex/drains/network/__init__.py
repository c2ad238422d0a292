"""
The way to a receiver: names, denied addresses, TLS, and errors in words.
"""
