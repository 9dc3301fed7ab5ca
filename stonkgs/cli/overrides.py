"""What people type on the command line, made into what hydra takes, and what hydra says made into what helps."""

import difflib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

_PATH = re.compile(r"^(\+{0,2}[\w./@]*(?:path|tokenizer|output_dir))=(.+)$", re.DOTALL)


def quote_paths(arguments: Sequence[str]) -> list[str]:
    """Paths as hydra's grammar takes them: `a,b.tsv`, `O'Brien.tsv` and `~/x` mean something else to it.

    A list, a null and what is quoted already stay as they are; in a sweep, commas stay hydra's.
    """
    if {"-m", "--multirun"} & set(arguments):
        return list(arguments)
    return [_quote_path(argument) for argument in arguments]


def _quote_path(argument: str) -> str:
    match = _PATH.match(argument)
    if not match or match[2] == "null" or (match[2][0] in "[\"'" and not Path(match[2]).exists()):
        return argument
    path = os.path.expanduser(match[2])  # noqa: PTH111  # a glob is no Path
    # In hydra's quotes a backslash counts only before a quote.
    path = re.sub(r"(\\*)'", lambda quote: 2 * quote[1] + r"\'", path)
    path = re.sub(r"(\\+)$", lambda end: 2 * end[1], path)
    return f"{match[1]}='{path}'"


def explained(text: str, config_dir: str, name: str) -> str:
    """Hydra's complaint about an override: without its search path, and with the key that was probably meant."""
    text = text.split(" Config search path:", maxsplit=1)[0].removeprefix(f"In {name!r}: ")
    if not (match := re.match(r"Could not override '([^']+)'", text)):
        return text
    keys = _keys(config_dir, name)
    if match[1] in keys:
        return f"there is no key {match[1]!r} beside the other choices made here; --cfg job shows which there are"
    close = difflib.get_close_matches(match[1], keys, n=1)
    return f"there is no key {match[1]!r}; " + (f"did you mean {close[0]}?" if close else "--help shows all keys")


def _keys(config_dir: str, name: str) -> list[str]:
    """The keys of a configuration with its default groups, at all depths."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    GlobalHydra.instance().clear()
    with initialize_config_dir(config_dir, version_base="1.3"):
        return list(_within(OmegaConf.to_container(compose(name))))


def _within(node: Any, prefix: str = "") -> Iterator[str]:
    for key, value in node.items() if isinstance(node, dict) else ():
        yield f"{prefix}{key}"
        yield from _within(value, f"{prefix}{key}.")
