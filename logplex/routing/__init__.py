"""
The way of a batch: each channel's outlets get their messages.
"""
