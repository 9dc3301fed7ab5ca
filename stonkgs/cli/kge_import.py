"""The command `stonkgs kge import`: a store of vectors that another program has learned."""

import argparse
from typing import Any, Final

EPILOG: Final = """\
FILE: word2vec's text form (as gensim's save_word2vec_format writes it); a .npy with --names; or the folder of a result
of PyKEEN, with its weights as model.safetensors beside trained_model.pkl, which is a pickle and is not read.

  stonkgs kge import --vectors VECTORS.txt --triples GRAPH.tsv --output kge.h5
  stonkgs kge import --vectors VECTORS.npy --names NAMES.txt --triples GRAPH.tsv --output kge.h5
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser of `stonkgs kge`."""
    command = commands.add_parser(
        "import",
        help="make a store of vectors from elsewhere",
        description="Makes a store of vectors that another program has learned, and of walks over a graph.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--vectors", required=True, metavar="FILE", help="names and vectors")
    command.add_argument("--names", metavar="FILE", help="of a .npy: a name a line, in the order of its rows")
    command.add_argument(
        "--triples", nargs="+", metavar="FILE", default=[], help="the graph for the walks; without, there are none"
    )
    command.add_argument("--walk-length", type=int, default=127, metavar="N", help="nodes of a walk (default 127)")
    command.add_argument("--output", required=True, metavar="H5", help="the store to write")
    command.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    command.add_argument("--half", action="store_true", help="keep the vectors as float16, in half the size")


def run(arguments: argparse.Namespace) -> None:
    """Run the command, and print its summary. Raises UserError."""
    from stonkgs.config.values import Count, check
    from stonkgs.graph.imports import import_store
    from stonkgs.graph.triples import TripleFiles

    check("--walk-length", arguments.walk_length, Count)
    print(
        import_store(
            vectors=arguments.vectors,
            names=arguments.names,
            triples=TripleFiles(arguments.triples) if arguments.triples else None,
            walk_length=arguments.walk_length,
            output=arguments.output,
            overwrite=arguments.overwrite,
            half=arguments.half,
        )
    )
