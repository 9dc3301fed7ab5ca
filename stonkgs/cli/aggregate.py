"""The command `stonkgs aggregate`."""

import argparse
import csv

from stonkgs.errors import UserError


def main(argv: list[str]) -> int:
    """Runs the command; returns its exit status. Raises UserError."""
    arguments = _parser().parse_args(argv)
    by = _names("--by", arguments.by)
    classes = None if arguments.classes is None else _names("--classes", arguments.classes)
    from stonkgs.aggregate.statements import aggregate  # imports DuckDB and Arrow, which --help must not wait for

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
        description="Makes one row for each statement from the predictions for its evidences: the number of evidences, "
        "and for each class the noisy-or of their probabilities, their mean and the largest. Rows of a statement with "
        "the same source_hash, if there is this column, count as one evidence with the mean of their probabilities. "
        "The source and target are the smallest pair of the statement's rows.",
    )
    parser.add_argument(
        "predictions", metavar="PREDICTIONS", help="the file of predictions, the output_dir of their run, or its parts"
    )
    parser.add_argument(
        "--by",
        default="stmt_hash",
        metavar="A,B,...",
        help="columns in which the rows of a statement are equal (default: stmt_hash); quote a name with a comma",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="the file to write, in the format of its extension: .parquet, .tsv, ... (default: statements.parquet "
        "beside the predictions)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    parser.add_argument(
        "--classes",
        metavar="A,B,...",
        help="all columns of probabilities, in the model's order; needed where no run.json is beside the predictions",
    )
    parser.add_argument(
        "--memory",
        default="1GB",
        metavar="SIZE",
        help="memory for DuckDB before it uses the disk (default: 1GB)",
    )
    return parser


def _names(option: str, text: str) -> list[str]:
    """Splits a list of column names as CSV. Raises UserError where one is empty or repeated."""
    try:
        names = next(csv.reader([text]), [])
    except csv.Error:
        names = []
    if not all(names) or not names or len(set(names)) < len(names):
        raise UserError(f"{option} {text}: must be names of different columns, with commas between")
    return names
