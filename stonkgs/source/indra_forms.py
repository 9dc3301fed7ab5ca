"""Finds where and in which form a file of JSON objects holds INDRA statements."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from stonkgs.errors import UserError
from stonkgs.indra.convert import KEYS
from stonkgs.source.text.brackets import Container, containers, past
from stonkgs.source.text.cursor import Cursor
from stonkgs.source.text.records import Lines
from stonkgs.source.text.signatures import HEAD, json_advice

#: The keys under which an answer of INDRA's services has its statements: of the REST API, and of INDRA DB's queries.
ANSWERS = ("statements", "results")
#: How many objects around the one with the statements are looked into, and how many of an object's members.
DEPTH, MEMBERS = 3, 64
#: Bytes of an array that may be one of several, each on a line of its own.
LINE = 1 << 20
#: Keys of what Reach writes: one object of all, or a file each.
_REACH = frozenset(("events", "entities", "sentences", "frames"))


def object_form(cursor: Cursor, start: int, max_record: int) -> Container | type[Lines]:
    """Returns where or how a file that starts with an object, at offset `start`, holds its statements.

    It is an answer with statements in it, a dictionary of statements, an object a line (statements or answers), or
    objects that each take several lines. Raises UserError where it is none of these.
    """
    keys: list[str] = []
    head = cursor.data[start - cursor.base :][:HEAD]
    found = _statements_in(cursor, start, max_record, keys)
    if "type" not in keys and len(_REACH.intersection(keys)) > ("frames" not in keys):
        raise UserError(
            f"{cursor.file}: is the output of Reach itself, not INDRA statements; read it with INDRA first "
            "(indra.sources.reach.process_json_file), and write its statements with stmts_to_json_file"
        )
    if found is None and "type" not in keys and "source=bel" in (advice := json_advice(head)):
        raise UserError(f"{cursor.file}: holds no INDRA statements. {advice}")
    cursor.seek(start)
    line = cursor.next_line(start, start + max_record + 1)
    end = past(cursor, start + 1, depth=1, most=max_record)
    several = end is not None and _next_byte(cursor, end) != b""
    if found and not several:
        return found
    if several and end is not None and end < line and _line_goes_on(cursor, end):
        return Container("", start)
    # Where the first of several lines is damaged, the next one starts with an object: in an indented one with a key.
    if (end is not None and end <= line) or _next_byte(cursor, line) not in (b'"', b"}"):
        return Lines
    if not several and end is not None and KEYS.isdisjoint(keys) and "type" not in keys:
        shown = ", ".join(map(repr, keys[:5])) or "none"
        raise UserError(f"{cursor.file}: is one JSON object without INDRA statements; its keys are {shown}")
    return Container("", start)


def _statements_in(cursor: Cursor, start: int, max_record: int, keys: list[str], depth: int = 0) -> Container | None:
    """Returns the array or object of statements in the object at offset `start`; an empty one if there is no other.

    Returns None where there is none. Adds the object's first keys to `keys`.
    """
    empty = None
    for key, container in islice(containers(cursor, start, max_record), MEMBERS if depth else None):
        if len(keys) < MEMBERS:
            keys.append(key)
        if key == "type":
            break
        if container is None or key in KEYS:
            continue
        inner = None
        if container.kind == "{":
            if key and _is_statement(cursor, container.start - 1, max_record):
                return Container("{", start + 1, outermost=not depth)
            if depth < DEPTH:
                inner = _statements_in(cursor, container.start - 1, max_record, [], depth + 1)
        named = container if key in ANSWERS or _lists_statements(cursor, container, max_record) else None
        if found := inner or named:
            if _next_byte(cursor, found.start) not in (b"]", b"}"):
                return found
            empty = empty or found
    return empty


def _lists_statements(cursor: Cursor, container: Container, max_record: int) -> bool:
    """Returns whether this is an array whose first item is a statement."""
    if container.kind != "[" or _next_byte(cursor, container.start) != b"{":
        return False
    return _is_statement(cursor, container.start, max_record)


def _is_statement(cursor: Cursor, start: int, max_record: int) -> bool:
    """Returns whether the object that starts here, or behind white space, has the keys of a statement."""
    keys = {key for key, _ in islice(containers(cursor, start, max_record), MEMBERS)}
    return "type" in keys and not KEYS.isdisjoint(keys)


def _next_byte(cursor: Cursor, place: int) -> bytes:
    """Returns the next byte that is no white space; b"" where the file ends before it."""
    cursor.seek(place)
    while True:
        rest = cursor.data[place - cursor.base :].lstrip()
        if rest or cursor.ended:
            return rest[:1]
        place = cursor.end
        cursor.fill(place)


def _line_goes_on(cursor: Cursor, place: int) -> bool:
    """Returns whether an object starts here, on the line on which another has ended."""
    cursor.seek(place)
    cursor.fill(place)
    return cursor.data.lstrip(b" \t,")[:1] == b"{"


def array_form(cursor: Cursor, start: int) -> Container | type[Lines]:
    """Returns where or how a file that starts with an array, at offset `start`, holds its statements.

    It is one array of all, or an array a line.
    """
    end = past(cursor, start + 1, depth=1, most=LINE)
    if end is not None and _next_byte(cursor, end) == b"[":
        return Lines
    return Container("[", start + 1, outermost=True)


def statements_of(value: Any, *, lines: bool) -> Iterator[Any] | None:
    """Returns the statements of a parsed record that is an answer or a dictionary of statements; else None.

    Where each record is a line, it may be an array of statements, too.
    """
    if lines and type(value) is list:
        return iter(value)
    if type(value) is not dict or "type" in value:
        return None
    inside = [value[word] for word in ANSWERS if isinstance(value.get(word), dict | list)]
    if not inside and value and all(type(one) is dict and "type" in one for one in value.values()):
        inside = [value]
    if not inside:
        return None
    members = next(filter(None, inside), inside[0])
    return iter(members.values() if isinstance(members, dict) else members)
