"""Quotes paths on the command line for hydra, and explains hydra's errors."""

import difflib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

_PATH = re.compile(r"^(\+{0,2}(?:[\w./@]*(?:path|tokenizer|output_dir)|model\.backbone))=(.+)$", re.DOTALL)


def quote_paths(arguments: Sequence[str]) -> list[str]:
    """Quotes the paths among KEY=VALUE arguments, because `a,b.tsv`, `O'Brien.tsv` and `~/x` mean something to hydra.

    Lists, null and quoted values stay as they are. In a sweep nothing is quoted: there commas separate values.
    """
    if {"-m", "--multirun"} & set(arguments):
        return list(arguments)
    return [_quote_path(argument) for argument in arguments]


def _quote_path(argument: str) -> str:
    match = _PATH.match(argument)
    if not match or match[2] == "null" or (match[2][0] in "[\"'" and not Path(match[2]).exists()):
        return argument
    path = os.path.expanduser(match[2])  # noqa: PTH111  # it may be a glob
    # Between hydra's quotes a backslash only has a meaning before a quote.
    path = re.sub(r"(\\*)'", lambda quote: 2 * quote[1] + r"\'", path)
    path = re.sub(r"(\\+)$", lambda end: 2 * end[1], path)
    return f"{match[1]}='{path}'"


def explain(text: str, config_dir: str, name: str) -> str:
    """Returns hydra's message about an override without the search path, and with the key that was probably meant."""
    text = text.split(" Config search path:", maxsplit=1)[0].removeprefix(f"In {name!r}: ")
    if not (match := re.match(r"Could not override '([^']+)'", text)):
        return text
    keys = _keys(config_dir, name)
    if match[1] in keys:
        return f"there is no key {match[1]!r} beside the other choices made here; --cfg job shows which there are"
    close = difflib.get_close_matches(match[1], keys, n=1)
    return f"there is no key {match[1]!r}; " + (f"did you mean {close[0]}?" if close else "--help shows all keys")


def _keys(config_dir: str, name: str) -> list[str]:
    """Returns the dotted keys of a configuration with its default groups, at all depths."""
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
