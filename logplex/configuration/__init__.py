"""
The shared configuration: channels, tokens, drains, credentials and sessions.
"""
