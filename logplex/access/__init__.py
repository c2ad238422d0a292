# SPDX-License-Identifier: Apache-2.0

"""
Authenticate the caller of a request, and check the permissions of a credential.
"""
