"""The command line: `stonkgs predict ...`, `stonkgs kge ...`.

Hydra only configures. Nothing heavy is imported before a run really starts: `--help` answers at once.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from stonkgs.cli.overrides import explained, quote_paths
from stonkgs.engine.interrupt import Interrupted, signals
from stonkgs.errors import UserError, printable

if TYPE_CHECKING:
    from omegaconf import DictConfig

_HERE = Path(__file__).resolve().parent.parent  # the package
#: A wheel carries its configs inside the package; a checkout has them beside it. Hydra's own ways of finding them each
#: fail in a checkout, a wheel or an editable install.
CONFIG_DIR = str(_HERE / "configs" if (_HERE / "configs").is_dir() else _HERE.parent / "configs")
#: The same for what is shipped as data: `${shipped:example/model}` in a config.
DATA_DIR = _HERE / "datasets" if (_HERE / "configs").is_dir() else _HERE.parent / "datasets"

# Torch's threads (libgomp's) wait for each other by spinning, for milliseconds: beside any other busy process a small
# model ran 10 times slower on two threads than on one. This is a microsecond. It is read when torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

#: Where a command's run is, a function of its name.
_RUNS = {"predict": "stonkgs.predict", "train": "stonkgs.train.run"}

#: What is asked for where a key has no value, if that is not the key itself.
_ASKED = {"task.name": "task= (or task.name=, a column whose classes are discovered)"}

#: Where the jobs of a sweep write, where nothing is said.
_RESULTS = {"predict": "predictions", "train": "training"}

USAGE = """\
stonkgs: rate text-mined biomedical statements

  stonkgs predict KEY=VALUE ...    statements in, predictions on disk   (--help: the keys)
                                   without any: the shipped example
  stonkgs train KEY=VALUE ...      fine-tune a model for a task, and evaluate it   (--help: the keys)
  stonkgs status DIR               how far the run is that writes there, and what it has rejected
  stonkgs aggregate PREDICTIONS    one row a statement, of the predictions for all its evidences   (--help)
  stonkgs kge build|info ...       make and look at a store of knowledge graph embeddings   (--help)
  stonkgs model convert|info ...   make a published checkpoint ours, look at a model folder   (--help)
  stonkgs --version
"""


def entry() -> NoReturn:
    """The console script."""
    sys.exit(main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Run one command; its exit status: 0, 1 for a user's error, 2 for a wrong call, 128 + n for signal n."""
    command, rest = (argv[0], list(argv[1:])) if argv else ("", [])
    commands: dict[str, Callable[[list[str]], int]] = {"predict": _predict, "train": _train, "status": _status}
    commands |= {"aggregate": _aggregate, "kge": _kge, "model": _model}
    others = {"": _usage, "-h": _usage, "--help": _usage, "--version": _version}
    if not (run := (commands | others).get(command)):
        print(f"error: no command {command!r}; there are {', '.join(commands)}", file=sys.stderr)
        return 2
    status = guarded(lambda: run(rest), debug=any(argument.lower() == "debug=true" for argument in rest))
    return status if command or status else 2


def guarded(run: Callable[[], int], *, debug: bool) -> int:
    """What `run` returns; where it fails, one line for people, and the exit status that goes with it."""
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
    except Exception as error:
        if debug:
            traceback.print_exc()
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 1


def one_line(error: BaseException) -> str:
    """What a person needs of an exception; a worker's comes wrapped in its traceback."""
    text = str(error).strip()
    if text.startswith("Caught "):
        text = text.split("\n")[-1].removeprefix("stonkgs.errors.UserError: ")
    text = printable(" ".join(text.split()))  # a path or a name in it may hold what drives a terminal
    expected = isinstance(error, UserError) or type(error).__module__.startswith(("hydra.", "omegaconf."))
    return text if expected else f"{type(error).__name__}: {text} (unexpected: debug=true shows where)"


def _usage(rest: list[str]) -> int:
    print(USAGE, end="")
    return 0


def _version(rest: list[str]) -> int:
    from importlib.metadata import version

    print(f"stonkgs {version('stonkgs')}")
    return 0


def _predict(rest: list[str]) -> int:
    return _hydra("predict", rest)


def _train(rest: list[str]) -> int:
    return _hydra("train", rest)


def _status(rest: list[str]) -> int:
    from stonkgs.runs.status import main as status

    return status(rest)


def _aggregate(rest: list[str]) -> int:
    from stonkgs.cli.aggregate import main as aggregate

    return aggregate(rest)


def _kge(rest: list[str]) -> int:
    from stonkgs.cli.kge import main as kge

    return kge(rest)


def _model(rest: list[str]) -> int:
    from stonkgs.cli.model import main as model

    return model(rest)


def _hydra(name: str, rest: list[str]) -> int:
    """Run a hydra command over its config, with errors left to us."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from yaml import YAMLError  # type: ignore[import-untyped, unused-ignore]

    from stonkgs.cli.composition import arguments, check_targets, looked_at
    from stonkgs.config import check_variables, variables_named

    failures: list[Exception] = []

    def job(cfg: "DictConfig") -> Any:
        sys.argv = before  # what Lightning starts to train on a second device: this command again
        try:
            _separate_jobs(cfg)
            if needed := sorted(_missing(OmegaConf.to_container(cfg))):
                asked = " ".join(_ASKED.get(key, f"{key}=") for key in needed)
                raise UserError(f"{name} needs {asked} (--help shows all keys)")
            check_targets(cfg, given.overrides)
            check_variables(cfg)
            told = import_module(_RUNS[name]).__dict__[name](cfg)
            if told is not None:
                print(told)
            return getattr(told, "objective", None)  # what a sweep looks for the best of
        except Exception as error:  # hydra would print the overrides before it lets go of it; Interrupted ends a sweep
            failures.append(error)
        return None

    OmegaConf.register_new_resolver("shipped", lambda name: str(DATA_DIR / name), replace=True)
    before, sys.argv = sys.argv, [sys.argv[0], *quote_paths(rest)]
    given = arguments(sys.argv[1:])
    printed = given.cfg or given.info or given.help  # a record, too
    full = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # for what fails before the job: hydra would print a traceback, and exit
    try:
        with looked_at(name, CONFIG_DIR, given), variables_named() if printed else nullcontext():
            hydra.main(version_base="1.3", config_path=CONFIG_DIR, config_name=name)(job)()
    except HydraException as error:
        raise UserError(explained(one_line(error), CONFIG_DIR, name)) from error
    except YAMLError as error:
        raise UserError(one_line(UserError(str(error)))) from error
    finally:
        sys.argv = before
        os.environ.pop("HYDRA_FULL_ERROR") if full is None else os.environ.update(HYDRA_FULL_ERROR=full)
    if failures:
        raise failures[0]
    return 0


def _missing(node: Any, prefix: str = "") -> Iterator[str]:
    """Keys that have no value yet, also where others refer to them: OmegaConf's missing_keys would raise."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _missing(value, f"{prefix}{key}.")
        elif value == "???":
            yield f"{prefix}{key}"


def _separate_jobs(cfg: "DictConfig") -> None:
    """Give each job of a sweep (--multirun) a folder of its own."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    hydra = HydraConfig.get()
    if hydra.mode == RunMode.MULTIRUN:
        written = OmegaConf.to_container(cfg)  # with variables by their names, as a record has them
        assert isinstance(written, dict)
        cfg.output_dir = f"{written['output_dir'] or _RESULTS[str(hydra.job.config_name)]}/{hydra.job.num}"
