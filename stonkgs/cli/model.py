"""The commands `stonkgs model convert`, `stonkgs model export` and `stonkgs model info`."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from stonkgs.errors import UserError, printable

if TYPE_CHECKING:
    from stonkgs.encode.text import TextEncoder
    from stonkgs.model.config import ModelConfig

#: What messages call a key of `predict` -> the option of these commands.
OPTIONS = {"model.tokenizer=": "--tokenizer", "model.labels": "--labels", ", or insist with any_kge=true": ""}


def main(argv: list[str]) -> int:
    """Runs the command; returns its exit status. Raises UserError."""
    arguments = _parser().parse_args(argv)
    with _options():
        if arguments.command == "convert":
            _convert(arguments)
        elif arguments.command == "export":
            _export(arguments)
        else:
            _info(arguments)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stonkgs model", description="Make or show a model folder.")
    commands = parser.add_subparsers(dest="command", required=True)
    convert = commands.add_parser("convert", help="make a model folder from a published checkpoint")
    convert.add_argument(
        "published", metavar="PUBLISHED", help="the folder of a checkpoint of the first implementation"
    )
    convert.add_argument("--output", required=True, metavar="FOLDER", help="the model folder to write")
    convert.add_argument("--labels", metavar="A,B,...", help="names of the classes, in the order of their numbers")
    convert.add_argument("--kge", metavar="H5", help="the store that it was trained with; others are then refused")
    convert.add_argument("--overwrite", action="store_true", help="replace the output if it is a model folder")
    export = commands.add_parser(
        "export", help="make a checkpoint of the first implementation from a pre-trained model"
    )
    export.add_argument("folder", metavar="FOLDER", help="a model that was pre-trained with task.objective=published")
    export.add_argument("--output", required=True, metavar="FOLDER", help="the new folder of the checkpoint")
    info = commands.add_parser("info", help="show what a model folder holds, ours or a published checkpoint")
    info.add_argument("folder", metavar="FOLDER")
    for command in (convert, info):
        command.add_argument(
            "--tokenizer", metavar="FOLDER", help="where a published checkpoint's vocab.txt is (dmis-lab/biobert-v1.1)"
        )
    return parser


@contextmanager
def _options() -> Iterator[None]:
    """Replaces the keys of `predict` in an error's message by the options of these commands."""
    try:
        yield
    except UserError as error:
        message = str(error)
        for key, option in OPTIONS.items():
            message = message.replace(key, option)
        raise UserError(message) from error


# torch is imported where a command runs, so that --help is instant.
def _convert(arguments: argparse.Namespace) -> None:
    labels = _labels(arguments.labels)
    from stonkgs.model.convert import convert

    print(
        convert(
            published=arguments.published,
            output=arguments.output,
            tokenizer=arguments.tokenizer,
            labels=labels,
            kge=arguments.kge,
            overwrite=arguments.overwrite,
        )
    )


def _export(arguments: argparse.Namespace) -> None:
    from stonkgs.model.export import BACKBONE, export

    print(printable(f"{export(model=arguments.folder, output=arguments.output)}: its text backbone is in {BACKBONE}/"))


def _labels(text: str | None) -> list[str] | None:
    if text is None:
        return None
    labels = [label.strip() for label in text.split(",")]
    if not all(labels) or len(set(labels)) < len(labels):
        raise UserError(f"--labels {text}: must be a different name for each class, such as incorrect,correct")
    return labels


def _info(arguments: argparse.Namespace) -> None:
    for label, value in _describe(Path(arguments.folder), arguments.tokenizer).items():
        print(printable(f"{label:14} {value}"))


def _describe(folder: Path, tokenizer: str | None) -> dict[str, str]:
    from stonkgs.model.checkpoint import read_parts
    from stonkgs.model.config import is_ours, read_json
    from stonkgs.model.convert import parameter_count
    from stonkgs.model.digest import model_digest
    from stonkgs.model.network import Network

    ours = is_ours(read_json(folder / "config.json"))
    config, text, weights = read_parts(folder, tokenizer)
    model = Network.assemble(config, text, weights, folder)
    needed = not ours and not tokenizer and not Path(text.path).is_file()
    if not needed:
        text.check(config.lm_backbone["vocab_size"])
    return {
        "model": str(folder),
        "format": f"ours, version {config.version}" if ours else "published by the first implementation",
        "labels": ", ".join(config.labels) or "none, pre-trained only",
        "a statement is": "of any of them" if config.multi_label else "of one of them",
        "reads": model.reads,
        "calibration": f"temperature {config.temperature:g}",
        "parameters": f"{parameter_count(model):,}",
        "text backbone": _size(config.lm_backbone),
        "joint BERT": _size(config.bert),
        "text length": f"{config.text_length} tokens",
        "walk length": f"{config.walk_length} nodes" if model.reads_walks else "none is read",
        **({"relation": f"the column {config.relation_column!r}"} if model.reads_relation else {}),
        "vocabulary": "not here: --tokenizer says where (dmis-lab/biobert-v1.1)" if needed else _vocabulary(text),
        "legacy": _legacy(config),
        "nodes found by": config.kge_match,
        "trained with": _store(config),
        **({"tested by": "; ".join(str(one.get("name")) for one in config.divisions)} if config.divisions else {}),
        "digest": "needs the vocabulary" if needed else model_digest(model),
        "size": f"{sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) / 1e6:,.1f} MB",
    }


def _size(bert: dict[str, int]) -> str:
    layers, width, heads = (bert[f] for f in ("num_hidden_layers", "hidden_size", "num_attention_heads"))
    return f"{layers} layers x {width} wide, {heads} heads"


def _vocabulary(text: "TextEncoder") -> str:
    normalizer = text.tokenizer.normalizer
    lowers = normalizer is not None and normalizer.normalize_str("A") == "a"
    return f"{text.vocabulary_size:,} entries, {'lower-casing' if lowers else 'cased'}"


def _legacy(config: "ModelConfig") -> str:
    fields = {"text padding is read": config.legacy_text_padding, "node numbers are shifted": config.legacy_node_shift}
    return ", ".join(name for name, on in fields.items() if on) or "nothing"


def _store(config: "ModelConfig") -> str:
    if not config.kge_nodes and not config.kge_digest:
        return "not recorded"
    nodes = f"{config.kge_nodes:,} nodes" if config.kge_nodes else "nodes not recorded"
    return f"{nodes}, " + (f"digest {config.kge_digest}" if config.kge_digest else "digest not recorded")
