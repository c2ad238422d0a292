"""
Access: the caller of a request, and the permissions of a credential.
"""
