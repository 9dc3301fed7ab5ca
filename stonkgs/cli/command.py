"""Finds and runs the command that was typed, and turns its errors into one line and an exit status.

Hydra composes the configuration and nothing else. Slow imports wait until a run starts, so that `--help` is instant.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from stonkgs.cli.overrides import explain, quote_paths
from stonkgs.engine.interrupt import Interrupted, signals
from stonkgs.errors import UserError, printable, refusal

if TYPE_CHECKING:
    from omegaconf import DictConfig

_HERE = Path(__file__).resolve().parent.parent  # the package
#: In a wheel the configs are inside the package, in a checkout beside it. Each of hydra's own ways to find them fails
#: in a checkout, a wheel or an editable install.
CONFIG_DIR = str(_HERE / "configs" if (_HERE / "configs").is_dir() else _HERE.parent / "configs")
#: The same for shipped data, which configs name by `${shipped:example/model}`.
DATA_DIR = _HERE / "datasets" if (_HERE / "configs").is_dir() else _HERE.parent / "datasets"

# The threads of torch (libgomp) wait for each other by spinning for milliseconds: beside another busy process a small
# model was 10 times slower on two threads than on one. This makes it a microsecond. Torch reads it at its import.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

#: command of hydra's -> the module whose function of the same name runs it
RUNS = {"predict": "stonkgs.predict", "embed": "stonkgs.predict", "train": "stonkgs.train.run"}
#: other command -> the module whose `main` runs it
_MAINS = {
    "status": "stonkgs.runs.status",
    "aggregate": "stonkgs.cli.aggregate",
    "kge": "stonkgs.cli.kge",
    "model": "stonkgs.cli.model",
}

#: key without a value -> what the message asks for, if it is more than the key
_REMEDY = {"task.name": "task= (or task.name=, a column whose classes are discovered)"}

#: command -> the folder for the jobs of a sweep, by default
_RESULTS = {"predict": "predictions", "embed": "embeddings", "train": "training"}

USAGE = """\
stonkgs: rate text-mined biomedical statements

  stonkgs predict KEY=VALUE ...    predict statements, write the predictions to disk   (--help: the keys)
                                   without any key: predict the shipped example
  stonkgs embed KEY=VALUE ...      embed statements, or their texts alone, with the keys of predict   (--help: the keys)
  stonkgs train KEY=VALUE ...      fine-tune a model for a task, and evaluate it   (--help: the keys)
                                   with experiment=pretrain: pre-train it on statements without labels
  stonkgs status DIR               show how far a run is, and how many rows it has rejected
                                   (with verify=true: read its results, and compare them with their SHA-256)
  stonkgs aggregate PREDICTIONS    make one row for each statement, from the predictions for its evidences   (--help)
  stonkgs kge train ...            learn a store of knowledge graph embeddings from triples   (--help)
  stonkgs kge COMMAND ...          grow a store, import vectors, build one of published files, or show one   (--help)
  stonkgs model COMMAND ...        convert or export a published checkpoint, or show a model folder   (--help)
  stonkgs --version
"""


def entry() -> NoReturn:
    """Runs the console script."""
    sys.exit(main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Runs a command; returns its exit status: 0, 1 for an error, 2 for an unknown command, 128 + n for signal n."""
    command, rest = (argv[0], list(argv[1:])) if argv else ("", [])
    if command not in (*RUNS, *_MAINS, "", "-h", "--help", "--version"):
        print(f"error: no command {command!r}; there are {', '.join([*RUNS, *_MAINS])}", file=sys.stderr)
        return 2
    debug = any(argument.lower() == "debug=true" for argument in rest)
    return guarded(lambda: _run(command, rest), debug=debug)


def _run(command: str, rest: list[str]) -> int:
    if command in RUNS:
        return _hydra(command, rest)
    if command in _MAINS:
        return int(import_module(_MAINS[command]).main(rest))
    from importlib.metadata import version

    print(f"stonkgs {version('stonkgs')}\n" if command == "--version" else USAGE, end="")
    return 0 if command else 2


def guarded(run: Callable[[], int], *, debug: bool) -> int:
    """Returns what `run` returns. Where it fails, prints one line and returns the exit status for the failure."""
    try:
        with signals():
            return run()
    except Interrupted as interrupt:
        if interrupt.advice:
            print(f"interrupted by {signal.Signals(interrupt.signum).name}: {interrupt.advice}", file=sys.stderr)
        return 128 + interrupt.signum
    except BrokenPipeError:  # `stonkgs predict --help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except BaseException as error:
        # The panic of a library that is written in Rust is no Exception.
        if not isinstance(error, Exception) and type(error).__module__ != "pyo3_runtime":
            raise
        if debug:
            traceback.print_exc()
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 1


def one_line(error: BaseException) -> str:
    """Returns the message of an exception as one line, without the traceback that a worker adds to it."""
    text = str(error).strip()
    if text.startswith("Caught "):
        text = text.split("\n")[-1].removeprefix("stonkgs.errors.UserError: ")
    expected = isinstance(error, UserError) or type(error).__module__.startswith(("hydra.", "omegaconf."))
    if refused := refusal(error):
        text, expected = refused, True
    text = printable(" ".join(text.split()))  # a path or a name in it may hold control characters
    return text if expected else f"{type(error).__name__}: {text} (unexpected: debug=true shows where)"


def _hydra(name: str, rest: list[str]) -> int:
    """Composes the configuration of a command with hydra, and runs the command with it. Raises its errors."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from yaml import YAMLError  # type: ignore[import-untyped, unused-ignore]

    from stonkgs.cli.composition import check_targets, checked_composition, parse_arguments
    from stonkgs.config import check_variables, flatten, variables_by_name

    failures: list[Exception] = []

    def job(cfg: "DictConfig") -> Any:
        sys.argv = before  # Lightning repeats this command to train on a second device
        try:
            _separate_jobs(name, cfg)
            values = flatten(OmegaConf.to_container(cfg))  # OmegaConf's own missing_keys raises at interpolations
            if missing := sorted(key for key, value in values if value == "???"):
                needed = " ".join(_REMEDY.get(key, f"{key}=") for key in missing)
                raise UserError(f"{name} needs {needed} (--help shows all keys)")
            check_targets(cfg, given.overrides)
            check_variables(cfg)
            result = import_module(RUNS[name]).__dict__[name](cfg)
            if result is not None:
                print(result)
            return getattr(result, "objective", None)  # what a sweep optimises
        except Exception as error:  # hydra would print the overrides before it raises; an Interrupted ends the sweep
            failures.append(error)
        return None

    OmegaConf.register_new_resolver("shipped", lambda name: str(DATA_DIR / name), replace=True)
    before, sys.argv = sys.argv, [sys.argv[0], *quote_paths(rest)]
    given = parse_arguments(sys.argv[1:])
    printed = given.cfg or given.info or given.help  # like a record, it must not show the values of variables
    full = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else hydra prints a traceback and exits, where it fails before the job
    try:
        with checked_composition(name, CONFIG_DIR, given), variables_by_name() if printed else nullcontext():
            hydra.main(version_base="1.3", config_path=CONFIG_DIR, config_name=name)(job)()
    except HydraException as error:
        raise UserError(explain(one_line(error), CONFIG_DIR, name)) from error
    except YAMLError as error:
        raise UserError(one_line(UserError(str(error)))) from error
    finally:
        sys.argv = before
        os.environ.pop("HYDRA_FULL_ERROR") if full is None else os.environ.update(HYDRA_FULL_ERROR=full)
    if failures:
        raise failures[0]
    return 0


def _separate_jobs(command: str, cfg: "DictConfig") -> None:
    """Gives each job of a sweep (--multirun) a folder of its own."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    hydra = HydraConfig.get()
    if hydra.mode == RunMode.MULTIRUN:
        written = OmegaConf.to_container(cfg)  # not resolved, so that a variable stays a name
        assert isinstance(written, dict)
        cfg.output_dir = f"{written['output_dir'] or _RESULTS[command]}/{hydra.job.num}"
