# SPDX-License-Identifier: Apache-2.0

"""A client of Redis. Its only tie to Logplex is the errors that it raises."""
