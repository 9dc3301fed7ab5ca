"""Converts a plan to JSON and back: the process that plans writes it once, and all others read it."""

import base64
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stonkgs.source.split import Plan


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """Returns the plan's files with the starts and stops of their splits, its columns, and its number of rows.

    The starts and stops are one text each, separated by spaces: a list of a million numbers would take 30 times their
    memory.
    """
    ends = np.searchsorted(plan.file, np.arange(1, len(plan.files)))  # splits come in the order of the files
    pieces = zip(plan.files, np.split(plan.start, ends), np.split(plan.stop, ends), strict=True)
    files = [{"path": path, "starts": _to_text(starts), "stops": _to_text(stops)} for path, starts, stops in pieces]
    schema = base64.b64encode(plan.schema.serialize().to_pybytes()).decode()
    return {"files": files, "rows": plan.rows, "columns": plan.schema.names, "schema": schema}


def plan_from_json(values: dict[str, Any]) -> Plan:
    """Reads what `plan_to_json` returned. Raises ValueError, KeyError or TypeError where it is something else."""
    entries = values["files"]
    starts, stops = ([_from_text(entry[key]) for entry in entries] for key in ("starts", "stops"))
    start, stop = np.concatenate(starts), np.concatenate(stops)
    if list(map(len, starts)) != list(map(len, stops)) or (start < 0).any() or (start > stop).any():
        raise ValueError("splits that are no stretches of a file")
    try:
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(values["schema"], validate=True)))
    except pa.ArrowException as error:
        raise ValueError("columns that cannot be read") from error
    if (rows := values["rows"]) is not None and type(rows) is not int:
        raise ValueError("rows that are no number")
    file = np.repeat(np.arange(len(entries)), list(map(len, starts)))
    return Plan(tuple(str(entry["path"]) for entry in entries), schema, file, start, stop, rows=rows)


def _to_text(numbers: npt.NDArray[np.int64]) -> str:
    return " ".join(map(str, numbers.tolist()))


def _from_text(text: str) -> npt.NDArray[np.int64]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # NumPy stops at what is no number with a mere warning
        try:
            return np.fromstring(text, dtype=np.int64, sep=" ")
        except DeprecationWarning as error:
            raise ValueError("splits that are no numbers") from error
