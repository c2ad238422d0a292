# SPDX-License-Identifier: Apache-2.0

"""
Sessions: URLs that show a channel's recent messages, and its live messages if the session asks for
a tail.

This package promises each reader every message of the channel once and in order, beginning with the
number at which the reader began or resumed. A reader that reads too slowly loses messages, and gets
the number of the lost messages. The words of this package:

* A *reader* is a client with an open answer. A *tail* is a reader that also wants live messages.
* The *past* of a reader is the recent messages that the reader is shown first.
* A reader is *live* if it has been shown every message so far. A reader is *behind* while its past
  is being read or written, or while its transport is full.
* The tails of one channel with equal filters and formats are a *group*. All tails of a group that
  are behind share one *window* of entries.

No class of this package shows its fields in its ``repr``: no log may show messages or session URLs.
"""
