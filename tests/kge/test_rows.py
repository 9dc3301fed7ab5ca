"""What the text files may look like, and the line that every mistake is named with."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stonkgs.errors import UserError
from stonkgs.kge.build import BuildSummary, build
from stonkgs.kge.store import KgeStore

V = b"A\t1\t2\nB\t3\t4\nC\t5\t6\n"
W = b"B\tA\tB\tC\nA\tA\tA\tA\n"


Make = Callable[..., BuildSummary]
Opened = Callable[[], KgeStore]


@pytest.mark.parametrize(
    ("vectors", "walks"),
    [
        (V.replace(b"\n", b"\r\n"), W.replace(b"\n", b"\r\n")),
        (V.rstrip(), W.rstrip()),
        (b"\n\n" + V.replace(b"\n", b"\n\n\r\n"), b"\n" + W + b"\n\n"),
        (gzip.compress(V, mtime=0), gzip.compress(W, mtime=0)),
        (gzip.compress(V[:9]) + gzip.compress(V[9:]), W),
        (b"\xef\xbb\xbf" + V, b"\xef\xbb\xbf" + W),
        (V.replace(b"1", b"+1.0e0"), W),
    ],
    ids=["CRLF", "no final newline", "blank lines", "gzip", "gzip members", "byte order mark", "exponent"],
)
def test_spellings_of_the_same_graph(make: Make, vectors: bytes, walks: bytes) -> None:
    digest = make(V, W).digest
    assert make(vectors, walks, overwrite=True).digest == digest


def test_names_are_taken_as_they_stand(make: Make, opened: Opened) -> None:
    names = [
        '"A',
        'B"',
        'p(X ! "Y Z")',
        "NA",
        "nan",
        "null",
        "",
        " ",
        "trailing ",
        "µ蛋白",
        "1",
        "#",
        "\\t",
        "a,b",
        "N/A",
    ]
    vectors = "".join(f"{name}\t{number}\n" for number, name in enumerate(names))
    walks = "".join("\t".join([name, *names]) + "\n" for name in names)
    make(vectors.encode(), walks.encode())
    store = opened()
    assert [store.name(number) for number in range(len(names))] == names
    assert [store.number(name) for name in names] == list(range(len(names)))
    assert (store.walks == np.arange(len(names))).all()


def test_a_single_node_with_an_empty_name(make: Make, opened: Opened) -> None:
    make(b"\t1\n", b"\t\t\n")
    assert opened().number("") == 0
    assert opened().number("A") == -1
    assert opened().walks.tolist() == [[0, 0]]


def test_floats_are_the_nearest_to_their_text(make: Make, opened: Opened) -> None:
    texts = ["0.1", "1e-50", "1e-40", "-3.4028234e38", "16777217", "-0.0", ".5", "5.", "1.17549435e-38"]
    make("\t".join(["A", *texts]).encode(), b"A\tA")
    expected = np.array([float(text) for text in texts]).astype(np.float32)
    assert opened().vectors[0].tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("vectors", "walks", "message"),
    [
        (V + b"D\t7\n", W, r"v\.tsv, line 4: 1 floats, where the lines before have 2"),
        (V + b"\n\nD\t7\t8\t9\n", W, r"v\.tsv, line 6: 3 floats, where the lines before have 2"),
        (b"name\n" + V, W, r"v\.tsv, line 1: a name without floats; separate them with tabs"),
        (b"name\tx\ty\n" + V, W, r"v\.tsv, line 1: 'x' is not a number; there is no header"),
        (V.replace(b"4", b'"4"'), W, r"v\.tsv, line 2: '\"4\"' is not a number"),
        (V.replace(b"4", b""), W, r"v\.tsv, line 2: '' is not a number"),
        (V.replace(b"4", b"\xff"), W, r"v\.tsv, line 2: '\\\\xff' is not a number"),
        (V.replace(b"5", b"NA"), W, r"v\.tsv, line 3: 'NA' is not a number"),
        (V.replace(b"5", b"nan"), W, r"v\.tsv, line 3: 'nan' is not a finite"),
        (V.replace(b"5", b"-inf"), W, r"v\.tsv, line 3: '-inf' is not a finite"),
        (V.replace(b"5", b"1e39"), W, r"v\.tsv, line 3: '1e39' is not a finite float32"),
        (V.replace(b"5", b"1,5"), W, r"v\.tsv, line 3: '1,5' is not a number; .* or decimal commas"),
        (V.replace(b"5", b"5\0"), W, r"v\.tsv, line 3: '5\\x00' is not a number"),
        (V.replace(b"B", b"B\0"), W, r"v\.tsv, line 2: the name 'B\\x00' has a NUL byte; mend it, or .*iconv"),
        (V, W + b"\0\tA\tB\tC\n", r"w\.tsv, line 3: the name '\\x00' has a NUL byte"),
        (V, W + b"C\tA\tB\tC\0\n", r"w\.tsv, line 3: the walk visits a node without a vector, 'C\\x00'"),
        (V.decode().encode("utf-16-le"), W, r"v\.tsv, line 1: the name 'A\\x00' has a NUL byte; .*iconv -f UTF-16 "),
        (V.decode().encode("utf-16"), W, r"v\.tsv, line 1: the name '.*A.x00' has a NUL byte; .*iconv -f UTF-16 "),
        (V.replace(b"B", b"\xe4"), W, r"v\.tsv, line 2: the name '\\\\xe4' is not UTF-8; .*iconv"),
        (b"", W, r"v\.tsv: no rows"),
        (b"\n\r\n", W, r"v\.tsv: no rows"),
        (gzip.compress(b"", mtime=0), W, r"v\.tsv: no rows"),
        (gzip.compress(V, mtime=0)[:-9], W, r"v\.tsv: .*gzip"),
        (V, gzip.compress(W, mtime=0)[:12], r"w\.tsv: .*gzip"),
        (V, b"", r"w\.tsv: no rows"),
        (V, W + b"C\tA\tB\n", r"w\.tsv, line 3: 2 nodes of a walk, where the lines before have 3"),
        (V, b"A\n", r"w\.tsv, line 1: a name without nodes of a walk"),
        (V, b"\n" + W + b"C\tA\tX\tY\n", r"w\.tsv, line 4: the walk visits a node without a vector, 'X'; add its"),
        (V, W + b"D\tA\tB\tC\n", r"w\.tsv, line 3: the walk is of a node without a vector, 'D'; add its vector"),
        (V, W + b"C\tA\tB\t\n", r"w\.tsv, line 3: the walk visits a node without a vector, ''"),
        (V, W + b"C\tA\tB\t\xff\n", r"w\.tsv, line 3: .*'\\\\xff'; it is not UTF-8"),
        (V, W + b"\xff\tA\tB\tC\n", r"w\.tsv, line 3: the name '\\\\xff' is not UTF-8"),
    ],
)
@pytest.mark.parametrize("block", [1, 1 << 20])
def test_mistakes_name_their_line(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vectors: bytes, walks: bytes, message: str, block: int
) -> None:
    monkeypatch.setattr("stonkgs.kge.rows.BLOCK", block)
    with pytest.raises(UserError, match=message) as refused:
        make(vectors, walks)
    assert "\n" not in str(refused.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.tsv", "w.tsv"], "nothing is left behind"


#: The first cell of a header, by what writes it.
HEADS = [b"", b"entity", b"Entity", b"index", b"Unnamed: 0", b'""', b'"index"', b"node_id", b"0"]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("width", [2, 3, 64])
@pytest.mark.parametrize("spell", [bytes, gzip.compress, lambda data: b"\xef\xbb\xbf\n" + data.replace(b"\n", b"\r\n")])
def test_the_header_that_pandas_writes_is_no_node(
    make: Make, tmp_path: Path, head: bytes, start: int, width: int, spell: Callable[[bytes], bytes]
) -> None:
    labels = b"\t".join(b"%d" % number for number in range(start, start + width))
    vectors = b"A" + b"\t0.5" * width + b"\nB" + b"\t1" * width + b"\n"
    walks = b"A" + b"\tB" * width + b"\n"
    with pytest.raises(
        UserError, match=r"v\.tsv, line [12]: is a header \('.*', '[01]', .* not a node; remove"
    ) as refused:
        make(spell(head + b"\t" + labels + b"\n" + vectors), walks)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "k.h5").exists()
    make(vectors, walks)
    if head != b"0":  # nodes may have numbers for names
        with pytest.raises(UserError, match=r"w\.tsv, line [12]: is a header"):
            make(vectors, spell(head + b"\t" + labels + b"\n" + walks), overwrite=True)


@pytest.mark.parametrize(
    "line", [b"p(A)\t0\t1\t2", b"\t0.5\t7", b"\t7\t3", b'\t"0"\t"1"', b"Unnamed: 0\t0", b"x\t0\t1\t2\t3\t4"]
)
def test_numbers_that_count_columns_are_a_header(make: Make, line: bytes) -> None:
    width = line.count(b"\t")
    with pytest.raises(UserError, match=r"v\.tsv, line 1: is a header"):
        make(line + b"\nA" + b"\t0.5" * width + b"\n", b"A\tA\n")


@pytest.mark.parametrize(
    "line",
    [
        b"p(A)\t0\t1",
        b"p(A)\t1\t2\t3",
        b"p(A)\t0.0\t1.0\t2.0",
        b"entity\t0.1\t0.7",
        b"index\t5\t3",
        b"p(A)\t0\t0\t0",
        b"0\t7",
    ],
)
def test_a_first_node_may_have_whole_numbers(make: Make, opened: Opened, line: bytes) -> None:
    name, *values = line.split(b"\t")
    second = b"B" + b"\t9" * len(values)
    make(line + b"\n" + second, name + b"\tB\n")
    assert opened().vectors[0].tolist() == [np.float32(value) for value in values]
    make(second + b"\n" + b"C\t" + b"\t".join(b"%d" % n for n in range(len(values))), b"B\tC\n", overwrite=True)


def test_nodes_whose_names_are_numbers_have_walks(make: Make, opened: Opened) -> None:
    make(b"".join(b"%d\t0.5\n" % node for node in range(5)), b"0\t1\t2\t3\n4\t0\t1\t2\n")
    assert opened().walks[0].tolist() == [1, 2, 3]


def test_the_files_of_a_user_with_a_header(cases: Path, tmp_path: Path) -> None:
    vectors, walks = (str(cases / f"kge_pandas_header_{kind}.tsv") for kind in ("vectors", "walks"))
    with pytest.raises(UserError, match=r"vectors\.tsv, line 1: is a header \('', '0', '1', '2' \.\.\.\), not a node"):
        build(vectors=vectors, walks=walks, output=str(tmp_path / "k.h5"))


@pytest.mark.parametrize("value", [b"65520", b"-65520", b"1e30"])
def test_what_half_precision_cannot_hold_names_its_line(make: Make, tmp_path: Path, value: bytes) -> None:
    vectors = V.replace(b"5", value)
    with pytest.raises(UserError, match=rf"v\.tsv, line 3: '{value.decode()}' is too large for float16; .*--half"):
        make(vectors, W, half=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.tsv", "w.tsv"], "nothing is left behind"
    make(vectors, W)


@pytest.mark.parametrize(
    ("value", "message"), [(b"nan", "is not a finite"), (b"1e39", "is not a finite"), (b"x", "no")]
)
def test_what_no_precision_holds(make: Make, value: bytes, message: str) -> None:
    with pytest.raises(UserError, match=rf"v\.tsv, line 3: '{value.decode()}' .*{message}"):
        make(V.replace(b"5", value), W, half=True)


def test_inputs_that_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "w.tsv").write_bytes(W)
    for name, message in {"missing.tsv": "no such file", ".": "is a directory; name the file in it"}.items():
        with pytest.raises(UserError, match=message):
            build(vectors=str(tmp_path / name), walks=str(tmp_path / "w.tsv"), output=str(tmp_path / "k.h5"))
