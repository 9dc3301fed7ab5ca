"""Removes the labels from a node's name: `p(HGNC:1748 ! CDH1)` has the identifier form `p(HGNC:1748)`.

Gene symbols are renamed and sources spell labels differently. The identifiers stay the same.
"""

import re

# The possessive quantifiers keep the time linear: no text is matched twice. A quoted string that is not closed, and an
# unquoted label, reach to the end of the name.
_LABEL = re.compile(
    rb"""
    (?<=[^(,\ ])\ !\ (?:                        # after an identifier
        "(?:[^"\\]++|\\.)*+" (?=[,)]|\ !\ |\Z)  # a quoted label
        | (?!") [^,)]*+                         # an unquoted label
    )
    | ( "(?:[^"\\]++|\\.)*+ (?:"|\\?\Z) )       # a quoted identifier, which is kept: it holds no labels
    """,
    re.VERBOSE | re.DOTALL,
)


def identifier_form(name: bytes) -> bytes:
    r"""Returns a UTF-8 name without every ` ! LABEL`. Text that is no well-formed label stays. Takes linear time.

    A label is a quoted string with backslash escapes, or reaches to the `,` or `)` that ends its term.
    """
    if b" ! " not in name:
        return name
    # split() gives the text between the labels and the kept group, in half the time that sub() takes.
    return b"".join(filter(None, _LABEL.split(name)))
