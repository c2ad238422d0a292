# SPDX-License-Identifier: Apache-2.0

"""
Logplex: a log router.

How a message walks through:

1. :mod:`logplex.inputs` gets bytes, from syslog over TCP or from ``POST /logs``;
   :mod:`logplex.syslog.framing` cuts them into frames.
2. :mod:`logplex.routing.router` looks up each frame's token in the :mod:`logplex.routing.registry`,
   puts the token's name in its place, and collects the messages by channel.
3. At the end of the chunk every channel hands its list, once, to its outlets: each drain's
   buffer in :mod:`logplex.drains`, and the :mod:`logplex.spool`.
4. A drain takes a batch from its buffer, formats it, pushes it, and forgets or retries it.
5. The spool numbers and keeps the messages, and tells :mod:`logplex.tails`, which write to
   their readers.
6. :mod:`logplex.api` changes who gets what: it commits changes to the
   :mod:`logplex.configuration`, the configuration tells the registry, and drains and tails follow
   the registry.

:mod:`logplex.node.service` puts the parts together, :mod:`logplex.tap` starts them under
``twistd``.
"""

__version__ = "1.0.0.dev0"
