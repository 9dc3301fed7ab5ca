"""Text that comes from anywhere, made fit for a terminal."""


def printable(text: str) -> str:
    """`text` with `?` for every control character: what a file says could otherwise drive the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)
