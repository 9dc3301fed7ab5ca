"""The error that a user sees, and text for people: safe for a terminal, durations in words."""


class UserError(Exception):
    """A mistake in the input, the settings or a file. The command line prints its message alone and exits with 1."""


def printable(text: str) -> str:
    """Returns `text` with `?` for every control character, so that text from a file cannot control the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def duration(seconds: float) -> str:
    """Returns a time in words: `45 s`, `12 min`, `3 h 20 min`, `2 d 5 h`."""
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / 86400
    if minutes < 1.5:
        return f"{seconds:.0f} s"
    if hours < 1.5:
        return f"{minutes:.0f} min"
    return f"{int(hours)} h {minutes % 60:.0f} min" if days < 2 else f"{int(days)} d {hours % 24:.0f} h"
