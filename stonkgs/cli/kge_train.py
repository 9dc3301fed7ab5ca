"""The command `stonkgs kge train`: composes its configuration, and runs it."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stonkgs.cli.overrides import explain, quote_paths
from stonkgs.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

#: The name of its configuration.
CONFIG: Final = "kge_train"
#: How a file of labelled rows ends -> the source that reads it; any other is a TSV.
SOURCES: Final = {".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet"}
#: Short keys -> what they stand for.
SHORT: Final = {"model=": "method.model="}

EPILOG: Final = """\
KEY=VALUE: method=node2vec (default), netmf or pykeen (with model=TransE, RotatE, ...), and settings of a method, such
as method.dimension=64; source=indra source.path=FILE for a graph of statements; held_out=0.1;
"without.where={COLUMN: VALUE}" for rows that are left out in any case. The files in configs/ explain the keys.

  stonkgs kge train --triples GRAPH.tsv --output kge.h5
  stonkgs kge train source=indra source.path=MODEL.json --output kge.h5 method=netmf
  stonkgs kge train source.path=ROWS.tsv --without ROWS.tsv --by pmid --protocol folds --fold 0 --output strict0.h5
"""
USAGE: Final = "stonkgs kge train (--triples FILE ... | source=NAME source.path=FILE) --output H5 [KEY=VALUE ...]"


def add_parser(commands: Any) -> None:
    """Add the command to the parser of `stonkgs kge`."""
    train = commands.add_parser(
        "train",
        help="learn a store from a graph of triples",
        usage=USAGE,
        description="Learns vectors and walks of a graph's nodes, and says how well they tell edges.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    train.add_argument(
        "--triples",
        nargs="+",
        metavar="FILE",
        default=[],
        help="lines of source, relation and target between tabs; or with a header that names columns source and target",
    )
    train.add_argument("--output", required=True, metavar="H5", help="the store to write")
    train.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    train.add_argument("--half", action="store_true", help="keep the vectors as float16, in half the size")
    strict = train.add_argument_group("a graph without the rows that will be tested (a strict graph)")
    strict.add_argument("--without", metavar="FILE", help="labelled rows: leave out rows of the groups that are tested")
    strict.add_argument("--by", metavar="COLUMN", help="what rows of a group share: evidence (default), pmid, ...")
    strict.add_argument(
        "--protocol", metavar="NAME", help="how groups are divided: grouped, or folds (default: by --fold)"
    )
    strict.add_argument("--fold", type=int, metavar="N", help="the fold that is tested, from 0")
    strict.add_argument(
        "--pairs", action="store_true", help="leave out also other rows about two nodes of a tested row"
    )


def run(arguments: argparse.Namespace, given: Sequence[str]) -> None:
    """Run the command with the KEY=VALUE arguments `given`, and print its summary. Raises UserError."""
    files, settings = files_and_settings(arguments.triples, given)
    settings = [*_strict(arguments), *map(_long, settings)]
    cfg = composed(settings, files)
    from stonkgs.graph.settings import train_configured  # imports torch, which --help must not wait for

    output, overwrite, half = arguments.output, arguments.overwrite, arguments.half
    print(train_configured(cfg, files=files, output=output, overwrite=overwrite, half=half))


def files_and_settings(triples: Sequence[str], given: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the files behind --triples, and all KEY=VALUE arguments, some of which may stand behind these files."""
    files = [file for file in triples if not _is_setting(file)]
    return files, [*given, *(file for file in triples if _is_setting(file))]


def composed(settings: Sequence[str], files: Sequence[str]) -> "DictConfig":
    """Returns the checked configuration of these overrides. Raises UserError."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf

    from stonkgs.cli.command import CONFIG_DIR, DATA_DIR, one_line
    from stonkgs.cli.composition import check_targets
    from stonkgs.config import check_variables, flatten

    OmegaConf.register_new_resolver("shipped", lambda name: str(DATA_DIR / name), replace=True)
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
            cfg = compose(CONFIG, quote_paths(settings))
    except HydraException as error:
        raise UserError(explain(one_line(error), CONFIG_DIR, CONFIG)) from error
    missing = {key for key, value in flatten(OmegaConf.to_container(cfg)) if value == "???"}
    if files and "source.path" not in missing:
        raise UserError("the graph is given twice, by --triples and by source.path=; leave out one")
    if not files and "source.path" in missing:
        raise UserError("name the graph: --triples FILE ..., or source=indra source.path=FILE (or another source)")
    if others := sorted(missing - {"source.path"}):
        raise UserError(f"kge train needs {' '.join(f'{key}=' for key in others)} (--help shows how)")
    if files:
        cfg.source = None
    check_targets(cfg, settings)
    check_variables(cfg)
    return cfg


def _is_setting(text: str) -> bool:
    """Returns whether an argument behind --triples is no file, but a KEY=VALUE."""
    return "=" in text and not Path(text).exists()


def _long(setting: str) -> str:
    for short, long in SHORT.items():
        if setting.startswith(short):
            return long + setting.removeprefix(short)
    return setting


def _strict(arguments: argparse.Namespace) -> Iterator[str]:
    """Yields the overrides for the options of a strict graph."""
    if arguments.without:
        name = arguments.without.removesuffix(".gz").removesuffix(".zst")
        yield from ("without=rows", f"source@without.source={SOURCES.get(Path(name).suffix, 'tsv')}")
        yield f"without.source.path={arguments.without}"
    elif arguments.by or arguments.protocol or arguments.fold is not None or arguments.pairs:
        yield "without=groups"
    if protocol := arguments.protocol or ("folds" if arguments.fold is not None else ""):
        yield f"protocol={protocol}"
    if arguments.by:
        escaped = arguments.by.replace("\\", "\\\\").replace("'", "\\'")
        yield f"protocol.by='{escaped}'"
    if arguments.fold is not None:
        yield f"protocol.fold={arguments.fold}"
    if arguments.pairs:
        yield "without.pairs=true"
