# SPDX-License-Identifier: Apache-2.0

"""
Makes ``twistd logplex`` known to Twisted.
"""

from twisted.application.service import ServiceMaker

logplex = ServiceMaker("Logplex", "logplex.tap", "A log router", "logplex")
