"""How large things are: on the wire, and in the database.

Measured on the local stack with chat of 28 characters; a test holds them against it. Longer or shorter chat counts one
byte a character more or less.
"""

from __future__ import annotations

#: Characters of the chat that was measured.
MEASURED_CHARACTERS = 28.0

#: Bytes a client receives for: a chat broadcast, a changed row, a frame without events, each event in it.
CHAT_BROADCAST = 420.0
ROW_CHANGE = 1_130.0
FRAME = 470.0
FRAME_EVENT = 330.0

#: Bytes of an answer to: a write, a heartbeat; of a snapshot without messages, and of each message in one.
WRITE_ANSWER = 400.0
HEARTBEAT_ANSWER = 300.0
SNAPSHOT = 1_500.0
SNAPSHOT_MESSAGE = 290.0

#: Messages that a client asks for when it opens a session.
SNAPSHOT_MESSAGES = 200

#: Bytes of HTTP headers with an answer.
HTTP = 400.0

#: Bytes on disk, indexes included: a stored message; an entry of the session's log, kept for `KEPT_HOURS`; the key of a
#: vote, tip or queue change, kept as long; a vote or tip itself; a frame in Realtime's own table, kept as long.
STORED_MESSAGE = 330.0
LOG_ENTRY = 350.0
KEY = 465.0
STORED_VOTE = 180.0
STORED_TIP = 550.0
STORED_FRAME = 900.0
KEPT_HOURS = 72.0
