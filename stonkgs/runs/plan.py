"""A plan as JSON: written once by the process that planned, read by every other one."""

import base64
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stonkgs.source.split import Plan


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan's files with the numbers where their splits start and stop, its columns and its rows.

    The numbers stand in a text, separated by spaces: a list of a million numbers would take 30 times their memory.
    """
    ends = np.searchsorted(plan.file, np.arange(1, len(plan.files)))  # splits come in the order of the files
    pieces = zip(plan.files, np.split(plan.start, ends), np.split(plan.stop, ends), strict=True)
    files = [{"path": path, "starts": _text(starts), "stops": _text(stops)} for path, starts, stops in pieces]
    schema = base64.b64encode(plan.schema.serialize().to_pybytes()).decode()
    return {"files": files, "rows": plan.rows, "columns": plan.schema.names, "schema": schema}


def from_json(values: dict[str, Any]) -> Plan:
    """The plan again. Raises ValueError where it is none."""
    entries = values["files"]
    starts, stops = ([_numbers(entry[key]) for entry in entries] for key in ("starts", "stops"))
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


def _text(numbers: npt.NDArray[np.int64]) -> str:
    return " ".join(map(str, numbers.tolist()))


def _numbers(text: str) -> npt.NDArray[np.int64]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what is no number ends it with a mere warning
        try:
            return np.fromstring(text, dtype=np.int64, sep=" ")
        except DeprecationWarning as error:
            raise ValueError("splits that are no numbers") from error
