"""The command `stonkgs aggregate`."""

import argparse
import csv

from stonkgs.errors import UserError


def main(argv: list[str]) -> int:
    """Run the command; UserError for mistakes."""
    arguments = _parser().parse_args(argv)
    by, classes = _names("--by", arguments.by), _names("--classes", arguments.classes)
    from stonkgs.aggregate.statements import aggregate  # DuckDB and Arrow, without which --help is instant

    assert by is not None
    print(
        aggregate(
            arguments.predictions,
            by=by,
            output=arguments.output,
            classes=classes,
            overwrite=arguments.overwrite,
            memory=arguments.memory,
        )
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="stonkgs aggregate",
        description="From predictions of rows to one row a statement: how many evidences it has, and of each class the "
        "noisy-or of their probabilities, their mean and the largest. Rows of a statement with the same source_hash, "
        "where there is this column, are one evidence, which has their mean; of source and target the smallest pair is "
        "passed on.",
    )
    parser.add_argument("predictions", metavar="PREDICTIONS", help="their file, their run's output_dir, or its parts")
    parser.add_argument(
        "--by",
        default="stmt_hash",
        metavar="A,B,...",
        help="columns that rows of one statement agree in (default: stmt_hash); a name with a comma stands in quotes",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="ends in .parquet, .tsv or another format; by default statements.parquet beside the predictions",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the output where it exists")
    parser.add_argument(
        "--classes",
        metavar="A,B,...",
        help="all columns of probabilities, in the model's order, where run.json is not beside the predictions",
    )
    parser.add_argument(
        "--memory", default="1GB", metavar="SIZE", help="what DuckDB may hold before it uses the disk (default: 1GB)"
    )
    return parser


def _names(option: str, text: str | None) -> list[str] | None:
    if text is None:
        return None
    try:
        names = next(csv.reader([text]), [])
    except csv.Error:
        names = []
    if not all(names) or not names or len(set(names)) < len(names):
        raise UserError(f"{option} {text}: must be names of columns, each another, with commas between")
    return names
