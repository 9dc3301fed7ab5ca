"""The identifier form of a node's name: `p(HGNC:1748 ! CDH1)` without its labels, `p(HGNC:1748)`.

Symbols are renamed and writers spell labels as they like; the identifiers beside them stay.
"""

import re

# One alternative takes all that it looked at, so that no name is read twice: a quoted string that is not closed counts
# up to the end, and so does an unquoted label.
_LABEL = re.compile(
    rb"""
    (?<=[^(,\ ])\ !\ (?:                        # after an identifier
        "(?:[^"\\]++|\\.)*+" (?=[,)]|\ !\ |\Z)  # a quoted label, which ends there
        | (?!") [^,)]*+                         # an unquoted one
    )
    | ( "(?:[^"\\]++|\\.)*+ (?:"|\\?\Z) )       # a quoted identifier, kept: what it holds is no label
    """,
    re.VERBOSE | re.DOTALL,
)


def identifier_form(name: bytes) -> bytes:
    r"""A name in UTF-8 without every ` ! LABEL`; what is no well-formed label stays as it is. Takes linear time.

    A label is a quoted string, in which a backslash escapes, or runs to the `,` or `)` that ends its term.
    """
    if b" ! " not in name:
        return name
    # What lies between the labels, and the group; half the time of sub().
    return b"".join(filter(None, _LABEL.split(name)))
