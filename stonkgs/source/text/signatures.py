"""Recognises files of other formats by their first bytes."""

import re

from stonkgs.errors import UserError

#: Number of bytes at a file's start that are looked at.
HEAD = 4096
#: A pattern of the first bytes, and advice. A signature of printable characters only includes the bytes behind it, as
#: a text may start with these characters.
SIGNATURES = (
    (rb"PK\x03\x04", "is a zip archive or an Excel workbook (.xlsx): unpack it, or save its sheet as CSV"),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an old Excel or Word file: save its table as CSV"),
    (rb"%PDF-[0-9]", "is a PDF: export its table as CSV or TSV"),
    (rb"PAR1[\x00-\x08\x0e-\x1f]", "is Parquet: source=parquet"),
    (rb"ARROW1\x00\x00", "is an Arrow file: write it as Parquet, and use source=parquet"),
    (rb"\x89HDF\r\n\x1a\n", "is HDF5: export its table as TSV or Parquet"),
    (rb"BZh[1-9]1AY&SY", "is packed with bzip2: unpack it with bunzip2"),
    (rb"\xfd7zXZ\x00", "is packed with xz: unpack it with unxz"),
    (rb"7z\xbc\xaf\x27\x1c", "is a 7z archive: unpack it"),
    (rb"\x1f\x8b|\x28\xb5\x2f\xfd", "is packed twice: unpack it once"),
    (rb"(?s:.{257})ustar(?:\x00|  \x00)", "is a tar archive: unpack it with tar -xf"),
    (rb"\xff\xfe\x00\x00|\x00\x00\xfe\xff", "is UTF-32: convert it, for example with iconv -f UTF-32 -t UTF-8"),
    (rb"\xff\xfe|\xfe\xff", "is UTF-16: convert it, for example with iconv -f UTF-16 -t UTF-8"),
)
_SIGNATURES = tuple((re.compile(start), what) for start, what in SIGNATURES)


def check_text(file: str, head: bytes) -> None:
    """Raises UserError where the first HEAD bytes of the (decompressed) content are not those of a text."""
    for start, what in _SIGNATURES:
        if start.match(head):
            raise UserError(f"{file}: {what}")
    # A text may have a few NULs. In UTF-16 without a mark about every second byte is one.
    if head.count(0) * 10 > len(head):
        raise UserError(
            f"{file}: is full of NUL bytes, which looks like UTF-16 or no text at all; "
            "convert it to UTF-8, for example with iconv -f UTF-16 -t UTF-8"
        )


#: What JSON begins with, also in the last column of INDRA's dumps.
_JSON = re.compile(rb'(?:\xef\xbb\xbf)?(?:[^\n{]*\t"?)?\s*([\[{])')
#: Keys near the start of a BEL graph, and of INDRA's statements, whose quotes are doubled in a dump.
_BEL = re.compile(rb'"(?:pybel_version|document_metadata|multigraph|links)"\s*:|"source"\s*:\s*\{')
_INDRA = re.compile(
    rb'"(?:db_refs|source_api|matches_hash)"+\s*:|"(?:enz|sub|subj|obj|agent|gef|ras|gap|obj_from)"+\s*:\s*\{'
    rb'|"(?:members|evidence)"+\s*:\s*\[\s*\{'
)


def json_advice(head: bytes) -> str:
    """Returns which source reads JSON, by the first HEAD bytes of the (decompressed) content; "" where it is none."""
    if not (found := _JSON.match(head)):
        return ""
    if _BEL.search(head):
        return "It looks like a BEL graph: source=bel"
    if _INDRA.search(head):
        return "It looks like INDRA statements: source=indra"
    if found[1] == b"[":
        return "It looks like a JSON array: write an object a line, for example with jq -c '.[]', and set source=jsonl"
    return "It looks like JSON Lines: source=jsonl" if head.lstrip()[:1] == b"{" else ""
