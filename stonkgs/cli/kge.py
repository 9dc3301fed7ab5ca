"""The commands of `stonkgs kge`: train, update, import, build and info."""

import argparse

from stonkgs.cli import kge_import, kge_train, kge_update
from stonkgs.errors import printable

#: How many names of nodes `info` shows.
SHOWN = 5
#: Commands that take KEY=VALUE arguments -> what runs them.
COMPOSED = {"train": kge_train.run, "update": kge_update.run}


def main(argv: list[str]) -> int:
    """Runs the command; returns its exit status. Raises UserError."""
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    if wrong := [text for text in rest if arguments.command not in COMPOSED or text.startswith("-") or "=" not in text]:
        parser.error(f"unrecognized arguments: {' '.join(wrong)}")
    if arguments.command in COMPOSED:
        COMPOSED[arguments.command](arguments, rest)
    elif arguments.command == "build":
        _build(arguments)
    elif arguments.command == "import":
        kge_import.run(arguments)
    else:
        _info(arguments.store)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stonkgs kge", description="The store of a knowledge graph's embeddings.")
    commands = parser.add_subparsers(dest="command", required=True)
    kge_train.add_parser(commands)
    kge_update.add_parser(commands)
    kge_import.add_parser(commands)
    build = commands.add_parser("build", help="make a store from vectors, and walks if there are any")
    build.add_argument("--vectors", required=True, metavar="TSV", help="lines of a node's name and its vector")
    build.add_argument(
        "--walks",
        metavar="TSV",
        help="lines of a node's name and the nodes of its walk; without it, the store is for models that read no walks",
    )
    build.add_argument("--output", required=True, metavar="H5", help="the store to write")
    build.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    build.add_argument("--half", action="store_true", help="keep the vectors as float16, in half the size")
    info = commands.add_parser("info", help="show what a store holds")
    info.add_argument("store", metavar="H5")
    return parser


# h5py and pyarrow are imported where a command runs, so that --help is instant.
def _build(arguments: argparse.Namespace) -> None:
    from stonkgs.kge.build import build

    print(
        build(
            vectors=arguments.vectors,
            walks=arguments.walks,
            output=arguments.output,
            overwrite=arguments.overwrite,
            half=arguments.half,
        )
    )


def _info(path: str) -> None:
    from stonkgs.graph.words import origin_words
    from stonkgs.kge.info import store_info
    from stonkgs.kge.lineage import origin_of
    from stonkgs.kge.store import KgeStore

    found, store = store_info(path), KgeStore(path=path)
    if words := origin_words(origin_of(store.header.origin)):
        found.pop("origin")
    for label, value in [*found.items(), *words]:
        print(printable(f"{label:13} {value}"))
    print("first names")
    for number in range(min(SHOWN, store.nodes)):
        print(printable(f"  {store.name(number)}"))
