"""Configurations that somebody was given: none of them runs, writes or reads anything that hydra could be told to.

Each case is a yaml in a folder of one's own (`--config-dir my experiment=given`), which is refused in one line, with
the key and the file. What it would have done is seen by a canary: a file that is made, changed, removed or opened, a
module that is imported, a variable of the environment. Without the check, hydra does it: see the control.
"""

import json
import os
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytorch_lightning  # noqa: F401  # it sets variables of the environment

from stonkgs.cli import CONFIG_DIR, main
from stonkgs.cli.composition import CheckedLoader

#: Files that were opened, while somebody looks: an audit hook cannot be taken out again.
_OPENED: list[str] = []


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str | Path):
        _OPENED.append(str(arguments[0]))


sys.addaudithook(_heard)


class Harm:
    """Unpickled, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (os.mkdir, (str(self.path),))


class Case(NamedTuple):
    """A file of somebody else's, its place in the folder, and what is said of it."""

    text: str
    key: str
    #: whether hydra would do it, if nobody looked
    does: bool = True
    place: str = "experiment/given.yaml"
    arguments: tuple[str, ...] = ("experiment=given",)


def everywhere(text: str, key: str, **more: Any) -> Case:
    """A file whose keys stand at the root."""
    return Case(f"# @package _global_\n{text}\n", key, **more)


def callback(text: str) -> Case:
    """A callback that hydra builds before anything of ours is asked."""
    return everywhere(f"hydra: {{callbacks: {{x: {{{text}}}}}}}", "hydra.callbacks.x._target_")


#: `@` is the folder, with precious.txt and harm.pickle.
CASES: dict[str, Case] = {
    "a pickle by pandas": callback("_target_: pandas.read_pickle, filepath_or_buffer: @/harm.pickle"),
    "a pickle by joblib": callback("_target_: joblib.load, filename: @/harm.pickle"),
    "a pickle by torch": callback("_target_: torch.load, f: @/harm.pickle, weights_only: false"),
    "a pickle by numpy": callback("_target_: numpy.load, file: @/harm.pickle, allow_pickle: true"),
    "a log over a file": callback("_target_: logging.FileHandler, filename: @/precious.txt, mode: w"),
    "a memmap over a file": callback("_target_: numpy.memmap, filename: @/precious.txt, mode: w+, shape: [9]"),
    "an HDF5 over a file": callback("_target_: h5py.File, name: @/precious.txt, mode: w"),
    "a file removed": callback(
        "_target_: pathlib.Path.unlink, self: {_target_: pathlib.Path, _args_: ['@/precious.txt']}"
    ),
    "positional arguments": callback(
        "_target_: pathlib.Path.write_text, _args_: [{_target_: pathlib.Path, _args_: ['@/new']}, x]"
    ),
    "nested": callback("_target_: builtins.dict, y: {_target_: logging.FileHandler, filename: @/new}"),
    "partial around": callback(
        "_target_: builtins.dict, _partial_: true, y: {_target_: logging.FileHandler, filename: @/new}"
    ),
    "converted": callback("_target_: logging.FileHandler, _convert_: all, filename: @/new"),
    "not recursive": callback("_target_: logging.FileHandler, _recursive_: false, filename: @/new"),
    "a target by interpolation": Case(
        "# @package _global_\nx: logging.FileHandler\nhydra: {callbacks: {x: {_target_: '${x}', filename: @/new}}}\n",
        "hydra.callbacks.x._target_",
    ),
    "callbacks by interpolation": Case(
        "# @package _global_\nx: {a: {_target_: logging.FileHandler, filename: @/new}}\nhydra: {callbacks: '${x}'}\n",
        "hydra.callbacks",
        does=False,  # hydra asks for a dictionary
    ),
    "a target by a resolver": Case(
        "# @package _global_\nhydra: {callbacks: {x: {_target_: '${oc.decode:logging.FileHandler}', filename: @/new}}}",
        "hydra.callbacks.x._target_",
    ),
    "a dictionary by a resolver": everywhere(
        "hydra: {callbacks: {x: '${oc.create:{_target_: logging.FileHandler, filename: @/new}}'}}",
        "hydra.callbacks.x",
    ),
    "a package of hydra's": Case(
        "# @package hydra.callbacks.x\n_target_: logging.FileHandler\nfilename: @/new\n", "hydra.callbacks.x._target_"
    ),
    "a package in a defaults list": Case(
        "# @package _global_\ndefaults: [/other@hydra.callbacks.x: it]\n",
        "hydra.callbacks.x._target_",
    ),
    "a variable of the environment": everywhere(
        "hydra: {job: {env_set: {PYTHONPATH: @}}}", "hydra.job.env_set.PYTHONPATH", does=False
    ),
    "variables copied": everywhere("hydra: {job: {env_copy: [SECRET]}}", "hydra.job.env_", does=False),
    "another folder": everywhere("hydra: {run: {dir: @/new}}", "hydra.run.dir"),
    "a folder of hydra's": everywhere("hydra: {output_subdir: new}", "hydra.output_subdir"),
    "another working directory": everywhere("hydra: {job: {chdir: true}, run: {dir: @/new}}", "hydra.run.dir"),
    "a launcher": Case(
        "# @package _global_\nhydra: {mode: MULTIRUN, launcher: {_target_: harmful.Launcher}}\n",
        "hydra.launcher._target_",
        does=False,  # hydra takes its own packages' alone
    ),
    "a sweeper": Case(
        "# @package _global_\nhydra: {mode: MULTIRUN, sweeper: {_target_: harmful.Sweeper}}\n",
        "hydra.sweeper._target_",
        does=False,  # hydra takes its own packages' alone
    ),
    "a launcher of a group": Case(
        "# @package _global_\ndefaults: [override /hydra/launcher: given]\n",
        "Could not find 'hydra/launcher/given'",
        does=False,
    ),
    "logging of a group": everywhere(
        "defaults: [override /hydra/hydra_logging: none]",
        "hydra.hydra_logging",
        does=False,
    ),
    "handlers of a log": everywhere(
        "hydra: {job_logging: {handlers: {x: {class: logging.FileHandler, filename: @/new}}, root: {handlers: [x]}}}",
        "hydra.job_logging.",
    ),
    "handlers of hydra's log": everywhere(
        "hydra: {hydra_logging: {handlers: {x: {class: logging.FileHandler, filename: @/precious.txt, mode: w}}}}",
        "hydra.hydra_logging.",
    ),
    "a factory of a log": everywhere(
        "hydra: {job_logging: {handlers: {x: {(): os.mkdir, path: @/new}}, root: {handlers: [x]}}}",
        "hydra.job_logging.",
    ),
    "a search path": Case(
        "hydra: {searchpath: ['pkg://harmful']}\ndefaults: [train]\n",
        "hydra.searchpath",
        place="given.yaml",
        arguments=("--config-name", "given"),
    ),
    "a search path by interpolation": Case(
        "hydra: {searchpath: '${x}'}\nx: ['pkg://harmful']\ndefaults: [train]\n",
        "hydra.searchpath",
        place="given.yaml",
        arguments=("--config-name", "given"),
    ),
    "a sweep over hydra": Case(
        "# @package _global_\nhydra: {mode: MULTIRUN, sweeper: {params: {+hydra.job.env_set.HARM: x}}}\n",
        "hydra.sweeper.params.+hydra",
        does=False,
    ),
    "overrides noted beforehand": Case(
        "# @package _global_\nhydra: {mode: MULTIRUN, overrides: {hydra: ['+hydra.job.env_set.HARM=x']}}\n",
        "hydra.overrides",
        does=False,
    ),
    "what a sweep's sampler is": Case(
        "# @package _global_\nhydra: {sweeper: {params: {x: {_target_: logging.FileHandler, filename: @/new}}}}\n",
        "hydra.sweeper.params.x",
        does=False,
    ),
    "a value swept from the environment": everywhere(
        "hydra: {sweeper: {params: {seed: '${oc.env:SECRET}'}}}", "hydra.sweeper.params.seed", does=False
    ),
    "trust": everywhere("trust: [logging.FileHandler]", "trust", does=False),
    "a job of a sweep": everywhere(
        "hydra: {job: {env_set: {HARM: x}}}",
        "hydra.job.env_set.HARM",
        does=False,
        place="experiment/given.yaml",
        arguments=("--multirun", "experiment=hbp_polarity,given"),
    ),
    "a callback of hydra's group": Case(
        "_target_: logging.FileHandler\nfilename: @/new\n",
        "hydra",
        place="hydra/callbacks/given.yaml",
        arguments=("hydra/callbacks=given",),
        does=False,
    ),
    "tags of YAML": Case(
        "x: !!python/object/apply:os.mkdir ['@/new']\n", "could not determine a constructor", does=False
    ),
    "a key that is built": Case("? !!python/object/apply:os.mkdir ['@/new']\n: x\n", "could not determine", does=False),
}

HARMFUL = "import pathlib\n(pathlib.Path(__file__).parent / 'imported').touch()\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with what can be harmed, which is the working directory and on Python's path."""
    (tmp_path / "precious.txt").write_text("precious")
    (tmp_path / "harm.pickle").write_bytes(pickle.dumps(Harm(tmp_path / "new")))
    (tmp_path / "harmful").mkdir()
    (tmp_path / "harmful" / "__init__.py").write_text(HARMFUL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("SECRET", "hunter2")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    sys.modules.pop("harmful", None)


def written(case: Case, folder: Path) -> list[str]:
    """The case in a folder my/, and the arguments that ask for it."""
    path = folder / "my" / case.place
    path.parent.mkdir(parents=True)
    path.write_text(case.text.replace("@/", f"{folder}/").replace(" @}", f" {folder}}}"))
    other = folder / "my" / "other" / "it.yaml"
    other.parent.mkdir(exist_ok=True)
    other.write_text(f"_target_: logging.FileHandler\nfilename: {folder}/new\n")
    return ["train", "--config-dir", "my", *case.arguments]


def state(folder: Path) -> dict[str, Any]:
    """All that a case could have changed."""
    files = {str(path): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}
    files.pop(f"{folder}/multirun.yaml", None)  # hydra's own note of a sweep that was typed
    return {**files, "environ": dict(os.environ), "harmful": "harmful" in sys.modules, "cwd": Path.cwd()}


def touched(folder: Path) -> list[str]:
    """Files of the folder that were opened, but the configurations."""
    own = (f"{folder}/my/", f"{folder}/multirun.yaml")
    return [path for path in _OPENED if path.startswith(str(folder)) and not path.startswith(own)]


@pytest.mark.parametrize("name", CASES)
def test_nothing_runs_that_came_with_a_config(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = CASES[name]
    arguments = written(case, folder)
    before = state(folder)
    _OPENED.clear()
    assert main(arguments) == 1
    opened = touched(folder)
    assert not opened
    assert state(folder) == before
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert case.key in error
    assert "unexpected" not in error
    if case.key.startswith("hydra."):
        assert f"set by {folder}/my/" in error


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.does])
def test_without_the_check_hydra_does_it(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CheckedLoader, "_check", lambda *_: None)
    monkeypatch.setattr(CheckedLoader, "_check_search_path", lambda *_: None)
    case = CASES[name]
    arguments = written(case, folder)
    before = state(folder)
    _OPENED.clear()
    main(arguments)
    os.chdir(folder)
    opened = touched(folder)
    assert opened or state(folder) != before


#: What our own stages would be built of, and how: refused by what is asked before anything is imported, or built.
BUILT = {
    "a module of somebody's": ("source: {_target_: harmful.Source}", "_target_ harmful.Source: a config may build"),
    "a function": ("source: {_target_: os.mkdir, path: '@/new'}", "_target_ os.mkdir: a config may build"),
    "nested in a stage": (
        "source: {columns: {source: {_target_: logging.FileHandler, filename: '@/new'}}}",
        "_target_ logging.FileHandler: a config may build",
    ),
    "in the trainer": (
        "+trainer: {callbacks: [{_target_: pytorch_lightning.callbacks.LambdaCallback, "
        "on_fit_start: {_target_: os.abort, _partial_: true}}]}",
        "_target_ os.abort: a config may build",
    ),
    "partial": ("source: {_partial_: true}", "_partial_=True: not for stonkgs.source.tsv.TsvSource"),
    "positional": ("source: {_args_: [x]}", "_args_=['x']: not for stonkgs.source.tsv.TsvSource"),
    "not recursive": ("source: {_recursive_: false}", "_recursive_=False: not for stonkgs.source.tsv.TsvSource"),
    "converted": ("source: {_convert_: object}", "_convert_=object: not for stonkgs.source.tsv.TsvSource"),
    "a secret as a name": ("writer: {prefix: '${oc.env:SECRET}'}", "writer.prefix: an environment variable"),
    "a secret behind": ("x: '${oc.env:SECRET}'\nwriter: {prefix: '${x}'}", "x: an environment variable"),
    "a secret decoded": (
        "writer: {prefix: '${oc.decode:${oc.env:SECRET}}'}",
        "writer.prefix: an environment variable",
    ),
    "a secret created": (
        "model: {labels: '${oc.create:[a,${oc.env:SECRET}]}'}",
        "model.labels: an environment variable",
    ),
    "a secret as a column": (
        "source: {columns: {source: '${oc.env:SECRET}'}}",
        "source.columns.source: an environment variable",
    ),
}


@pytest.mark.parametrize("name", BUILT)
def test_a_stage_is_built_of_nothing_else(
    name: str, folder: Path, small_run: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    text, line = BUILT[name]
    path = folder / "my" / "experiment" / "given.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(f"# @package _global_\n{text.replace('@/', f'{folder}/').removeprefix('+')}\n")
    before = state(folder)
    assert main(["predict", "--config-dir", "my", "+experiment=given", *small_run]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert line in error
    assert "hunter2" not in error
    assert state(folder) == before


def test_records_name_a_variable(
    folder: Path, small_run: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "hunter2").mkdir()
    (folder / "rows.tsv").rename(folder / "hunter2" / "rows.tsv")
    path = folder / "my" / "experiment" / "given.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("# @package _global_\nsource: {path: '${oc.env:SECRET}/rows.tsv'}\noutput_dir: ${oc.env:OUT,x}\n")
    typed = [argument for argument in small_run if argument.startswith(("model", "kge"))]
    command = ["predict", "--config-dir", "my", "+experiment=given", *typed]
    assert main(command) == 0, capsys.readouterr().err
    config = json.loads((folder / "x" / "run.json").read_text())["config"]
    assert config["source"]["path"] == "${oc.env:SECRET}/rows.tsv"
    assert config["output_dir"] == "${oc.env:OUT,x}"
    assert main([*command, "--cfg", "job", "--resolve"]) == 0
    shown = capsys.readouterr().out
    assert "${oc.env:SECRET}/rows.tsv" in shown
    assert "hunter2" not in shown


def test_a_file_may_say_what_is_swept(folder: Path, small_run: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "my" / "experiment" / "given.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("# @package _global_\nhydra: {mode: MULTIRUN, sweeper: {params: {batch.size: '1,2'}}}\n")
    assert main(["predict", "--config-dir", "my", "+experiment=given", *small_run]) == 0, capsys.readouterr().err
    assert all((folder / "out" / str(job) / "_SUCCESS").exists() for job in (0, 1))


@pytest.mark.parametrize(
    "typed", ["+hydra.job.env_set.TYPED=x", "+hydra.callbacks.x._target_=hydra.experimental.callback.Callback"]
)
def test_what_is_typed_stays(typed: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "my" / "experiment" / "given.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("# @package _global_\nseed: 1\n")
    assert main(["train", "--config-dir", "my", "experiment=given", typed]) == 1
    assert capsys.readouterr().err.startswith("error: train needs ")


def test_a_rerun_would_read_a_pickle(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--experimental-rerun", "harm.pickle"]) == 1
    assert "a pickle, which may hold code" in capsys.readouterr().err
    assert not (folder / "new").exists()


def test_shipped_experiments_may_say_all_they_say(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "my").mkdir()
    names = {path.stem for path in (Path(CONFIG_DIR) / "experiment").glob("*.yaml")}
    assert names > {"pretrain"}
    for name in names:
        assert main(["train", "--config-dir", "my", "--cfg", "job", f"experiment={name}"]) == 0
        # A pre-training is of no corpus of its own.
        assert ("${oc.env:STONKGS_CORPORA,../shared/data}" in capsys.readouterr().out) == (name != "pretrain")
