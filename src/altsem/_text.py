"""Text from elsewhere, made fit for a line of ours."""


def printable(text: str) -> str:
    """The same on one line, and with nothing in it that a terminal acts on: what is no visible
    character or plain space is written as Python would (``\\x1b``, ``\\n``, ``\\u202e``)."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text
    )
