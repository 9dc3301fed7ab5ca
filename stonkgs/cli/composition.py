"""Composes a command's configuration for hydra, and refuses what a file of the user's may not say.

Hydra runs what its own configuration names (callbacks, a launcher, a sweeper, log handlers, environment variables)
before it calls any code of ours. So whatever it composes, each job of a sweep too, is looked at here first.
"""

import re
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

from hydra._internal import hydra as hydra_internals
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from stonkgs.config import refused, targets
from stonkgs.errors import UserError

#: A key, from the root.
Key = tuple[str, ...]

#: What of hydra's own configuration a file of the user's may set: what is swept, and how often. Values only.
_OPEN: Final = {
    *(("hydra", key) for key in ("mode", "verbose")),
    *(("hydra", "sweeper", key) for key in ("direction", "max_batch_size", "max_failure_rate", "n_jobs", "n_trials")),
    ("hydra", "sweeper", "study_name"),
    ("hydra", "sweeper", "sampler", "seed"),
}
_PARAMS: Final = ("hydra", "sweeper", "params")
#: What hydra notes while it composes, or launches, whatever files say. `searchpath` is looked at before.
_NOTED: Final = {
    *(("hydra", key) for key in ("overrides", "runtime", "searchpath")),
    *(("hydra", "job", key) for key in ("config_name", "id", "num", "override_dirname")),
}
#: The stages that the shipped example has; with none of them given, a prediction is of the example.
_STAGES: Final = ("source", "kge", "model")
#: Packages that a run imports anyway.
_IMPORTED: Final = ("stonkgs.", "torch.optim.", "pytorch_lightning.", "lightning_fabric.")
#: A target in an override that was typed.
_TYPED: Final = re.compile(r"""_target_['"]?\s*[:=]\s*['"]?([\w.]+)""")


def arguments(rest: Sequence[str]) -> Namespace:
    """What stands on the command line, by hydra's own parser."""
    given = get_args_parser().parse_args(list(rest))
    if given.experimental_rerun is not None:
        raise UserError("--experimental-rerun: it reads a pickle, which may hold code; repeat the command instead")
    return given


@contextmanager
def looked_at(name: str, config_dir: str, given: Namespace) -> Iterator[None]:
    """Within it, hydra composes by `Composer` for the command `name`."""

    class Loader(Composer):
        command, shipped, typed = name, config_dir, tuple(given.overrides)
        example = name == "predict" and not given.help

    hydra_internals.__dict__["ConfigLoaderImpl"] = Loader  # hydra.main takes no loader
    try:
        yield
    finally:
        hydra_internals.__dict__["ConfigLoaderImpl"] = ConfigLoaderImpl


class Composer(ConfigLoaderImpl):
    """Hydra's loader of configurations; UserError where files set what only the command line may set."""

    #: the command; the folder of the shipped configurations; what was typed; whether the example may be taken
    command: str
    shipped: str
    typed: tuple[str, ...]
    example: bool
    #: what was said of an earlier attempt
    refused: UserError | None = None

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """Compose, and check. Hydra calls this for each run, job of a sweep, --cfg and --help."""
        if self.refused:  # hydra asks once more, after it has failed to compose
            raise self.refused
        try:
            return self._composed(config_name, overrides, (run_mode, from_shell, validate_sweep_overrides))
        except UserError as error:
            type(self).refused = error
            raise

    def _composed(self, config_name: str | None, overrides: list[str], rest: tuple[RunMode, bool, bool]) -> DictConfig:
        self._check_search_path(config_name)
        cfg = super().load_configuration(config_name, overrides, *rest)
        if _foreign(cfg, self.shipped):
            self._check(cfg, config_name, overrides, rest[0])
        elif self.example and _unsaid(cfg, overrides):
            example = [f"{stage}=example" for stage in _STAGES]
            cfg = super().load_configuration(config_name, [*example, *overrides], *rest)
        return cfg

    def _check_search_path(self, config_name: str | None) -> None:
        """Its pkg:// imports a package while hydra composes: UserError where a file has one."""
        loaded = self.repository.load_config(config_name) if config_name else None
        if loaded and isinstance(loaded.config, DictConfig) and OmegaConf.select(loaded.config, "hydra.searchpath"):
            raise UserError(_refused(("hydra", "searchpath"), f"{_folder(loaded.path)}/{config_name}.yaml"))

    def _check(self, cfg: DictConfig, config_name: str | None, overrides: list[str], run_mode: RunMode) -> None:
        parsed = OverridesParser.create().parse_overrides(list(self.typed))
        kept = tuple(str(override.input_line) for override in parsed if _kept(override))
        now, plain = dict(_decided(cfg)), _without_files(self.command, self.shipped, kept)
        noted = [*cfg.hydra.overrides.task, *cfg.hydra.overrides.hydra]
        wrong: list[Key] = [("hydra", "overrides")] if sorted(noted) != sorted(overrides) else []
        for key in [*now, *(key for key in plain if key not in now)]:
            if now.get(key) != plain.get(key) and not (key in now and _open(key, now[key])):
                wrong.append(key)
        if wrong:
            raise UserError(_refused(wrong[0], self._file(wrong[0], config_name, overrides, run_mode)))

    def _file(self, key: Key, config_name: str | None, overrides: list[str], run_mode: RunMode) -> str:
        """The user's files that have set a key, as far as it can be told."""
        _, repo = self._parse_overrides_and_create_caching_repo(config_name, overrides)
        files = []
        for default in self.compute_defaults_list(config_name, overrides, run_mode).defaults:
            loaded = self._load_single_config(default, repo) if default.config_path else None
            if loaded and _is_foreign(loaded.provider, loaded.path, self.shipped):
                files.append((f"{_folder(loaded.path)}/{default.config_path}.yaml", loaded.config))
        holding = [file for file, config in files if key[0] in config and _holds(config, key)]
        return ", ".join(holding or [file for file, _ in files]) or "a file of the search path"


def check_targets(cfg: DictConfig, typed: Sequence[str]) -> None:
    """UserError where a file names somebody else's code to build: to look at it, it would be imported, and so run."""
    known = {target for override in typed for target in _TYPED.findall(override)} | set(cfg.get("trust") or ())
    for target in targets(OmegaConf.to_container(cfg, resolve=True)):
        if not target.startswith(_IMPORTED) and target not in known:
            raise refused(target)


@cache
def _without_files(command: str, shipped: str, typed: tuple[str, ...]) -> dict[Key, Any]:
    """The command's shipped configuration with what was typed about hydra and trust, and nothing of any file."""
    loader = ConfigLoaderImpl(create_config_search_path(shipped))
    return dict(_decided(loader.load_configuration(command, list(typed), RunMode.RUN)))


def _foreign(cfg: DictConfig, shipped: str) -> bool:
    """Whether it may hold something of a file that is neither shipped nor of an installed package."""
    return any(_is_foreign(source.provider, source.path, shipped) for source in cfg.hydra.runtime.config_sources)


def _is_foreign(provider: str, path: str, shipped: str) -> bool:
    if provider == "main":  # --config-path is another one
        return _folder(path) != shipped
    return provider == "command-line" or provider.startswith("hydra.searchpath")


def _folder(path: str) -> str:
    return path.removeprefix("file://").rstrip("/")


def _decided(cfg: DictConfig) -> Iterator[tuple[Key, Any]]:
    """Each value as it is written, interpolations and all, of what only the command line may set."""
    for root in ("hydra", "trust"):
        for key, value in _leaves(OmegaConf.to_container(cfg).get(root), (root,)):  # type: ignore[union-attr]
            if key[:2] not in _NOTED and key[:3] not in _NOTED:
                yield key, value


def _leaves(node: Any, key: Key) -> Iterator[tuple[Key, Any]]:
    if isinstance(node, dict) and node:
        for name, value in node.items():
            yield from _leaves(value, (*key, str(name)))
    else:
        yield key, node


def _open(key: Key, value: Any) -> bool:
    """Whether a file may say so: a key of the short list, and a value that names and looks up nothing."""
    # What is swept are overrides of the command line: `+hydra.callbacks.x` as well as `seed`.
    swept = key[:-1] == _PARAMS and key[-1][:1].isalpha() and not key[-1].startswith(("hydra", "trust"))
    values = value if isinstance(value, list) else [value]
    return (key in _OPEN or swept) and not any(isinstance(one, dict | list) or "${" in str(one) for one in values)


def _kept(override: Override) -> bool:
    """Whether it holds without the user's files: a choice or a key of hydra's, or `trust`."""
    ours = override.is_hydra_override() or override.key_or_group == "trust"
    return ours and override.package is None and override.key_or_group != "hydra.searchpath"


def _unsaid(cfg: DictConfig, overrides: Sequence[str]) -> bool:
    """Whether nothing says what to predict, or by which model: the paths are missing, and no stage was chosen."""
    said = {override.key_or_group for override in OverridesParser.create().parse_overrides(list(overrides))}
    chosen = said & {*_STAGES, *(f"{stage}._target_" for stage in _STAGES)}
    return not chosen and all(OmegaConf.is_missing(cfg[stage], "path") for stage in _STAGES)


def _holds(config: Any, key: Key) -> bool:
    for name in key:
        if not isinstance(config, DictConfig) or config._is_none() or name not in config:
            return False
        config = config._get_node(name)
    return True


def _refused(key: Key, file: str) -> str:
    return f"{'.'.join(key)}: set by {file}; a file may not say this, only the command line, because it can run code"
