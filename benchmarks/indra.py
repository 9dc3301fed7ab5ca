"""Reading INDRA statements: rows/s and memory from a .gz of one large array, beside json.load of it.

python benchmarks/indra.py --statements ../shared/data/indra_hbp_statements.jsonl.gz --megabytes 350

The array is made of real statements, repeated and varied (hashes, pmids, a number in each text). Each reading is a
process of its own, on one core; its memory is read over each quarter of the rows, beside that of its imports.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

MB = 1_000_000


def main() -> None:
    """Make the file, read it both ways, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--statements", default="../shared/data/indra_hbp_statements.jsonl.gz", help="JSONL, gzip")
    parser.add_argument("--megabytes", type=int, default=350, help="of the array, unpacked")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--read", choices=READERS, help="what the processes are for that are measured")
    parser.add_argument("--path")
    arguments = parser.parse_args()
    if arguments.read:
        print(json.dumps(READERS[arguments.read](arguments.path)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "statements.gz"
        count = write_array(path, Path(arguments.statements), arguments.megabytes * MB)
        print(f"{count:,} statements, {arguments.megabytes} MB, {path.stat().st_size / MB:,.0f} MB packed")
        print(f"{'':12} {'rows':>9} {'seconds':>8} {'rows/s':>8}   MB beyond the imports, by quarter")
        for _ in range(arguments.repeat):
            for reader in READERS:
                _show(reader, _measured(reader, path))


def write_array(path: Path, statements: Path, size: int) -> int:
    """An indented array of at least `size` bytes, as EMMAA writes it; returns how many statements it has."""
    written = count = 0
    with gzip.open(path, "wt", compresslevel=6) as file:
        for count, statement in enumerate(_varied(statements), start=1):
            text = json.dumps(statement, indent=1)
            file.write(("[\n" if count == 1 else ",\n") + text)
            written += len(text) + 2
            if written >= size:
                break
        file.write("\n]\n")
    return count


def _varied(path: Path) -> Iterator[dict[str, Any]]:
    turn = 0
    while True:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for statement in map(json.loads, lines):
                statement["matches_hash"] = str(int(statement["matches_hash"]) + turn)
                for evidence in statement["evidence"]:
                    evidence |= {"source_hash": evidence["source_hash"] // 2 + turn, "pmid": str(10_000_000 + turn)}
                    if evidence.get("text"):
                        evidence["text"] += f" {turn}"
                yield statement
        turn += 1


def _measured(reader: str, path: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--read", reader, "--path", str(path)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def _show(reader: str, found: dict[str, Any]) -> None:
    memory = " ".join(f"{value:,.0f}" for value in found["memory"])
    rate = found["rows"] / found["seconds"]
    print(f"{reader:12} {found['rows']:9,} {found['seconds']:8.1f} {rate:8,.0f}   {memory}")


def _resident() -> float:
    return float(psutil.Process().memory_info().rss) / MB


def _stream(path: str) -> dict[str, Any]:
    """Through the source: planned, and read split by split; rows are told by the statements' share."""
    from stonkgs.source.indra import IndraSource
    from stonkgs.statement import Statement

    before = _resident()
    started = time.perf_counter()
    source = IndraSource(path=path)
    plan = source.plan(2048)
    rows, memory = 0, []
    for split in plan:
        rows += sum(isinstance(record, Statement) for record in source.read(split, plan.schema))
        memory.append(_resident() - before)
    seconds = time.perf_counter() - started
    quarters = [max(memory[len(memory) * part // 4 : len(memory) * (part + 1) // 4]) for part in range(4)]
    return {"rows": rows, "seconds": seconds, "memory": quarters}


def _load(path: str) -> dict[str, Any]:
    """All statements as one list, and the same conversion."""
    from stonkgs.indra.convert import Converter
    from stonkgs.statement import Statement

    before = _resident()
    started = time.perf_counter()
    with gzip.open(path, "rt", encoding="utf-8") as file:
        statements = json.load(file)
    convert = Converter()
    rows = sum(isinstance(row, Statement) for statement in statements for row in convert(statement))
    return {"rows": rows, "seconds": time.perf_counter() - started, "memory": [_resident() - before]}


READERS = {"source": _stream, "json.load": _load}

if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main()
