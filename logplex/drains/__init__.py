# SPDX-License-Identifier: Apache-2.0

"""
Drains: every message of a channel is sent to the receivers that its drains name.

The room promises that a message is delivered, or is dropped and counted, and that one drain in
trouble costs no other drain anything. Its words:

* A *courier* connects, formats and sends the messages of one drain. Each kind of drain has one.
* A *lifecycle* is the state machine of one drain: it says when its courier connects and sends.
* A drain *lingers* when it waits for more messages, so that a batch carries many.
* A drain's *buffer* holds its messages. What does not fit into it goes into its *overflow*, whose
  bytes are charged to the buffer that all drains share.
* A *probe* is one test message.
"""
