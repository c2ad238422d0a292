# SPDX-License-Identifier: Apache-2.0

"""
Sessions: URLs that show a channel's recent messages, and its live ones to a tail.

The room promises each reader every message of the channel once and in order, from the number at
which it began or resumed, and a count of those for which it read too slowly. Its words:

* A *reader* is a client with an open answer. A *tail* is a reader that also wants live messages.
* A reader's *past* is what it is shown first: the recent messages that its session asks for.
* A reader is *live* if it has been shown everything so far. It is *behind* while its past is being
  read or written, or while its transport has no room.
* Tails of one channel with equal filters and formats are a *group*. Those of them that are behind
  share one *window* of entries.

No class here has a ``repr`` of its fields: they hold messages and session URLs, which no log may
show.
"""
