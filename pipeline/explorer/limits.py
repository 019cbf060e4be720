"""How much the server takes from a page."""

MIB = 1 << 20
# Of an own file, unless the command says otherwise: a phone's clip of a minute, and the time to look at it on a CPU.
UPLOAD_MIB = 200
UPLOAD_SECONDS = 120.0
# Of what an action is told: a log of some thousand edits.
MESSAGE_BYTES = MIB
# Of the name of a file.
NAME_LETTERS = 255
