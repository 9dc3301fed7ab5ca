"""What a run may be continued with: the same of all that moves a byte of its result."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

#: Packages whose version may move a result's bits.
DECISIVE = ("stonkgs", "torch", "transformers", "tokenizers")
#: Settings that are taken over from the run that is continued where they are not given.
TAKEN_OVER: Final = ("split.rows", "threads")


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What a run would not share with the one that it goes on with, in words; nothing where they give one result."""
    try:
        was, is_ = _deciding(before), _deciding(now)
        found = [*inputs(before["input"], now["input"])]
    except (KeyError, TypeError, AttributeError):
        return "its record is of another version"
    return "; ".join([*found, *changed(was, is_)])


def changed(was: Mapping[str, Any], is_: Mapping[str, Any]) -> Iterator[str]:
    """Each key whose value is another one, in words."""
    for key in [*was, *(key for key in is_ if key not in was)]:
        then, given = was.get(key), is_.get(key)
        if then != given and not (key in TAKEN_OVER and given is None):
            yield f"{key} was {_shown(then)}, is {_shown(given)}"


def _deciding(record: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that moves a byte of the result, but the input, by the names that people give it."""
    config = record["config"]
    values = {"merge": config["merge"], "kge.match": config["kge"].get("match"), **record["settings"]}
    for stage in ("source", "batch", "writer"):
        values |= {
            f"{stage}.{key}": value for key, value in config[stage].items() if (stage, key) != ("source", "path")
        }
    values |= {"the model's labels": record["model"]["labels"], "the model's digest": record["model"]["digest"]}
    values |= {"the KGE store's digest": record["kge"]["digest"]}
    return values | {package: record["versions"][package] for package in DECISIVE}


def inputs(before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Where the input is not what it was; the first difference is enough to go by."""
    if len(before) != len(now):
        yield f"the input was {len(before):,} files, is {len(now):,}"
        return
    for was, is_ in zip(before, now, strict=True):
        if was["size"] != is_["size"]:
            yield f"{is_['path']} had {was['size']:,} bytes, has {is_['size']:,}"
        elif was["ends"] != is_["ends"]:
            yield f"{is_['path']} has another content"
        elif was["mtime_ns"] != is_["mtime_ns"]:
            yield f"{is_['path']} was written at another time (cp -p keeps it)"
        else:
            continue
        return  # one is enough to go by


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    text = str(value)
    return text[:12] if len(text) == 64 else text if len(text) <= 80 else f"{text[:77]}..."
