# SPDX-License-Identifier: Apache-2.0

"""
Access: the caller of a request, and the permissions of a credential.
"""
