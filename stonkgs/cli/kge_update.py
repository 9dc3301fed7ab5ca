"""The command `stonkgs kge update`: composes its configuration, and runs it."""

import argparse
from collections.abc import Sequence
from typing import Any, Final

from stonkgs.cli.kge_train import composed, files_and_settings

EPILOG: Final = """\
New nodes get vectors from their neighbours, and walks; all others keep theirs, and their numbers. A model that was
trained with STORE takes the grown store too.

  stonkgs kge update kge.h5 --triples NEW.tsv --output kge2.h5
  stonkgs kge update kge.h5 source=indra source.path=MODEL.json --output kge2.h5
"""
USAGE: Final = (
    "stonkgs kge update STORE (--triples FILE ... | source=NAME source.path=FILE) --output H5 [KEY=VALUE ...]"
)


def add_parser(commands: Any) -> None:
    """Add the command to the parser of `stonkgs kge`."""
    update = commands.add_parser(
        "update",
        help="add the nodes of further triples to a store",
        usage=USAGE,
        description="Adds nodes to a store without changing what it holds.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    update.add_argument("store", metavar="STORE")
    update.add_argument("--triples", nargs="+", metavar="FILE", default=[], help="as for `stonkgs kge train`")
    update.add_argument("--output", required=True, metavar="H5", help="the store to write")
    update.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    update.add_argument(
        "--legacy-node-shift",
        action="store_true",
        help="write new vectors for models that read a node's vector three rows before its own, as published ones do",
    )


def run(arguments: argparse.Namespace, given: Sequence[str]) -> None:
    """Run the command with the KEY=VALUE arguments `given`, and print its summary. Raises UserError."""
    files, settings = files_and_settings(arguments.triples, given)
    cfg = composed(settings, files)
    from stonkgs.graph.settings import update_configured  # imports torch, which --help must not wait for

    print(
        update_configured(
            cfg,
            store=arguments.store,
            files=files,
            output=arguments.output,
            overwrite=arguments.overwrite,
            legacy_node_shift=arguments.legacy_node_shift,
        )
    )
