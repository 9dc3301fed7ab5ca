"""The identifier form: what is a label and what is not, against a table and against a reading letter by letter."""

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stonkgs.kge.identifier import identifier_form


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("p(HGNC:1748 ! CDH1)", "p(HGNC:1748)"),
        ("p(HGNC:1748)", "p(HGNC:1748)"),
        ('p(HGNC:1748 ! "CDH1")', "p(HGNC:1748)"),
        ("p(HGNC:391 ! AKT1, pmod(Ph, Ser, 473))", "p(HGNC:391, pmod(Ph, Ser, 473))"),
        (
            'p(HGNC:391 ! AKT1, pmod(go:0006468 ! "protein phosphorylation", Ser, 473))',
            "p(HGNC:391, pmod(go:0006468, Ser, 473))",
        ),
        ('p(HGNC:4851 ! HTT, var("p.Gln18[89]"))', 'p(HGNC:4851, var("p.Gln18[89]"))'),
        ('complex(p(HGNC:1 ! A), p(HGNC:2 ! "B, (c)"))', "complex(p(HGNC:1), p(HGNC:2))"),
        ('complex(p(HGNC:2 ! "B) ! C"), a(CHEBI:1 ! x))', "complex(p(HGNC:2), a(CHEBI:1))"),
        ("composite(a(CHEBI:31911 ! Nilvadipine), p(HGNC:11892))", "composite(a(CHEBI:31911), p(HGNC:11892))"),
        ("act(p(HGNC:1 ! A), ma(kin))", "act(p(HGNC:1), ma(kin))"),
        (
            "r(fus(HGNC:1 ! A, r.1_79, HGNC:2 ! B, r.312_5034))",
            "r(fus(HGNC:1, r.1_79, HGNC:2, r.312_5034))",
        ),
        ('bp(GO:0006915 ! "apoptotic process")', "bp(GO:0006915)"),
        ('bp(GO:"GO:0006915" ! "apoptotic process")', 'bp(GO:"GO:0006915")'),
        (r'a(X:1 ! "5\" \\", b(Y:2 ! "\\"))', "a(X:1, b(Y:2))"),
        ('a(X:1 ! "")', "a(X:1)"),
        ("a(X:1 ! )", "a(X:1)"),
        ("a(X:1 ! ß-catenin 蛋白)", "a(X:1)"),
        ("a(X:1 ! two words )", "a(X:1)"),
        ("HGNC:1748 ! CDH1", "HGNC:1748"),
        ('HGNC:1748 ! "CDH1"', "HGNC:1748"),
        ('a(X:1 ! "a" ! "b")', "a(X:1)"),
        # what is no label stays
        ("", ""),
        ("NA", "NA"),
        ("!", "!"),
        (" ! ", " ! "),
        (" ! A", " ! A"),
        ("p( ! A)", "p( ! A)"),
        ("a(X:1!A)", "a(X:1!A)"),
        ("a(X:1 !A)", "a(X:1 !A)"),
        ("a(X:1! A)", "a(X:1! A)"),
        ("a(X:1\t!\tA)", "a(X:1\t!\tA)"),
        ('a(X:"one ! two")', 'a(X:"one ! two")'),
        (r'a(X:"one \" ! two" ! label)', r'a(X:"one \" ! two")'),
        # another identifier must not come out of what is malformed
        ('p(HGNC:1 ! "A"748)', 'p(HGNC:1 ! "A"748)'),
        ('p(HGNC:1 ! "A)', 'p(HGNC:1 ! "A)'),
        ('p(HGNC:1 ! "A\\")', 'p(HGNC:1 ! "A\\")'),
        ('p(HGNC:"1 ! A)', 'p(HGNC:"1 ! A)'),
        ('p(HGNC:1 ! "A\\', 'p(HGNC:1 ! "A\\'),
    ],
)
def test_forms(name: str, form: str) -> None:
    assert identifier_form(name.encode()).decode() == form


def _letter_by_letter(name: str) -> str:
    form, place = "", 0
    while place < len(name):
        end = place + 1
        if name[place] == '"':
            end = _closed(name, place) or len(name)
        elif name[place : place + 3] == " ! " and place and name[place - 1] not in "(, ":
            label = place + 3
            if name[label : label + 1] != '"':
                end = min((name.find(mark, label) for mark in ",)" if mark in name[label:]), default=len(name))
                place = end
            elif (close := _closed(name, label)) and (name[close:] + ",").startswith((",", ")", " ! ")):
                place = end = close
        form += name[place:end]
        place = end
    return form


def _closed(name: str, quote: int) -> int | None:
    """Where the string that a quote opens is over."""
    place = quote + 1
    while place < len(name):
        if name[place] == '"':
            return place + 1
        place += 2 if name[place] == "\\" else 1
    return None


PIECES = st.lists(st.sampled_from(["A", " ! ", '"', "\\", "(", ")", ",", " ", "!", "µ", "\n"]), max_size=25)


@settings(max_examples=600, deadline=None)
@given(PIECES.map("".join))
@example('A ! "B" ! C')
def test_any_name(name: str) -> None:
    form = identifier_form(name.encode())
    assert form.decode() == _letter_by_letter(name)
    assert identifier_form(form) == form, "a name without labels is its own form"


@pytest.mark.parametrize(
    "piece", [' ! "', ' ! "a', '"', '\\"', 'a"', "a ! ", ' ! "a"b', ' ! "a" ! ', "(", "\\", 'A ! "\\"', "a ! (", "!"]
)
def test_a_hostile_name_takes_linear_time(piece: str) -> None:
    for start in ("", "A", 'A ! "', '"'):
        name = (start + piece * (400_000 // len(piece))).encode()
        started = time.perf_counter()
        identifier_form(name)
        assert time.perf_counter() - started < 5, "seconds; a quadratic one takes minutes"
