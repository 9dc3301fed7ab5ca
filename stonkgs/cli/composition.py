"""Composes a command's configuration with hydra, and refuses settings that only the command line may make.

Hydra runs what its own configuration names (callbacks, a launcher, a sweeper, log handlers, environment variables)
before it calls any code of ours. A file of the user's may come from somebody else, so every composition, also that of
each job of a sweep, is checked here first.
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

from stonkgs.config import targets, untrusted
from stonkgs.errors import UserError

#: A key, from the root.
Key = tuple[str, ...]

#: Keys of hydra that a file of the user's may set: how a sweep searches.
_ALLOWED: Final = {
    *(("hydra", key) for key in ("mode", "verbose")),
    *(("hydra", "sweeper", key) for key in ("direction", "max_batch_size", "max_failure_rate", "n_jobs", "n_trials")),
    ("hydra", "sweeper", "study_name"),
    ("hydra", "sweeper", "sampler", "seed"),
}
_PARAMS: Final = ("hydra", "sweeper", "params")
#: Keys that hydra sets itself while it composes or launches. `searchpath` is checked before.
_SET_BY_HYDRA: Final = {
    *(("hydra", key) for key in ("overrides", "runtime", "searchpath")),
    *(("hydra", "job", key) for key in ("config_name", "id", "num", "override_dirname")),
}
#: The stages of the shipped example, which is predicted or embedded where none of them is given.
_STAGES: Final = ("source", "kge", "model")
#: Packages that a run imports anyway.
_IMPORTED: Final = ("stonkgs.", "torch.optim.", "pytorch_lightning.", "lightning_fabric.")
#: A target in an override on the command line.
_TYPED: Final = re.compile(r"""_target_['"]?\s*[:=]\s*['"]?([\w.]+)""")


def parse_arguments(rest: Sequence[str]) -> Namespace:
    """Parses the command line with hydra's own parser."""
    given = get_args_parser().parse_args(list(rest))
    if given.experimental_rerun is not None:
        raise UserError("--experimental-rerun: it reads a pickle, which may hold code; repeat the command instead")
    return given


@contextmanager
def checked_composition(name: str, config_dir: str, given: Namespace) -> Iterator[None]:
    """Makes hydra compose the command `name` with a `CheckedLoader` inside the `with` block."""

    class Loader(CheckedLoader):
        command, shipped, typed = name, config_dir, tuple(given.overrides)
        example = name in ("predict", "embed") and not given.help
        ask_for_mode = bool(given.config_dir or given.config_path) or any("hydra" in one for one in given.overrides)

    hydra_internals.__dict__["ConfigLoaderImpl"] = Loader  # hydra.main takes no loader
    try:
        yield
    finally:
        hydra_internals.__dict__["ConfigLoaderImpl"] = ConfigLoaderImpl


class CheckedLoader(ConfigLoaderImpl):
    """Hydra's loader, which raises UserError where files set what only the command line may set."""

    command: str
    #: the folder of the shipped configurations
    shipped: str
    #: the overrides on the command line
    typed: tuple[str, ...]
    #: whether to choose the shipped example where nothing else is chosen
    example: bool
    #: whether anything can have set hydra.mode: a file of the user's or an override
    ask_for_mode: bool
    #: the error of an earlier attempt
    refused: UserError | None = None

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """Composes and checks. Hydra calls this for each run, job of a sweep, --cfg and --help."""
        if self.refused:  # hydra calls again after a failure
            raise self.refused
        if not (validate_sweep_overrides or self.ask_for_mode):  # hydra composes once for its mode alone: 0.1 s
            return OmegaConf.create({"hydra": {"mode": None}})
        try:
            return self._composed(config_name, overrides, (run_mode, from_shell, validate_sweep_overrides))
        except UserError as error:
            type(self).refused = error
            raise

    def _composed(self, config_name: str | None, overrides: list[str], rest: tuple[RunMode, bool, bool]) -> DictConfig:
        self._check_search_path(config_name)
        cfg = super().load_configuration(config_name, overrides, *rest)
        if _has_user_files(cfg, self.shipped):
            self._check(cfg, config_name, overrides, rest[0])
        elif self.example and _chooses_nothing(cfg, overrides):
            example = [f"{stage}=example" for stage in _STAGES]
            cfg = super().load_configuration(config_name, [*example, *overrides], *rest)
        return cfg

    def _check_search_path(self, config_name: str | None) -> None:
        """Raises UserError where a file sets hydra.searchpath: its pkg:// imports a package while hydra composes."""
        loaded = self.repository.load_config(config_name) if config_name else None
        if loaded and isinstance(loaded.config, DictConfig) and OmegaConf.select(loaded.config, "hydra.searchpath"):
            raise _refusal(("hydra", "searchpath"), f"{_folder(loaded.path)}/{config_name}.yaml")

    def _check(self, cfg: DictConfig, config_name: str | None, overrides: list[str], run_mode: RunMode) -> None:
        """Raises UserError where a restricted key has another value than it would have without the user's files."""
        parsed = OverridesParser.create().parse_overrides(list(self.typed))
        kept = tuple(str(override.input_line) for override in parsed if _holds_without_files(override))
        now, plain = dict(_restricted(cfg)), _without_files(self.command, self.shipped, kept)
        recorded = [*cfg.hydra.overrides.task, *cfg.hydra.overrides.hydra]
        wrong: list[Key] = [("hydra", "overrides")] if sorted(recorded) != sorted(overrides) else []
        for key in [*now, *(key for key in plain if key not in now)]:
            if now.get(key) != plain.get(key) and not (key in now and _is_allowed(key, now[key])):
                wrong.append(key)
        if wrong:
            raise _refusal(wrong[0], self._files(wrong[0], config_name, overrides, run_mode))

    def _files(self, key: Key, config_name: str | None, overrides: list[str], run_mode: RunMode) -> str:
        """Returns the user's files that set a key; all of the user's files, if that cannot be found out."""
        _, repo = self._parse_overrides_and_create_caching_repo(config_name, overrides)
        files = []
        for default in self.compute_defaults_list(config_name, overrides, run_mode).defaults:
            loaded = self._load_single_config(default, repo) if default.config_path else None
            if loaded and _is_user_file(loaded.provider, loaded.path, self.shipped):
                files.append((f"{_folder(loaded.path)}/{default.config_path}.yaml", loaded.config))
        setting = [file for file, config in files if key[0] in config and _has_key(config, key)]
        return ", ".join(setting or [file for file, _ in files]) or "a file of the search path"


def check_targets(cfg: DictConfig, typed: Sequence[str]) -> None:
    """Raises UserError where a file names a target of another package: to check it, it must be imported, and so run."""
    known = {target for override in typed for target in _TYPED.findall(override)} | set(cfg.get("trust") or ())
    for target in targets(OmegaConf.to_container(cfg, resolve=True)):
        if not target.startswith(_IMPORTED) and target not in known:
            raise untrusted(target)


@cache
def _without_files(command: str, shipped: str, typed: tuple[str, ...]) -> dict[Key, Any]:
    """Returns the restricted values of the shipped configuration with the overrides `typed`, without user files."""
    loader = ConfigLoaderImpl(create_config_search_path(shipped))
    return dict(_restricted(loader.load_configuration(command, list(typed), RunMode.RUN)))


def _has_user_files(cfg: DictConfig, shipped: str) -> bool:
    """Returns whether a file may take part that is neither shipped nor of an installed package."""
    return any(_is_user_file(source.provider, source.path, shipped) for source in cfg.hydra.runtime.config_sources)


def _is_user_file(provider: str, path: str, shipped: str) -> bool:
    if provider == "main":  # --config-path may name another folder
        return _folder(path) != shipped
    return provider == "command-line" or provider.startswith("hydra.searchpath")


def _folder(path: str) -> str:
    return path.removeprefix("file://").rstrip("/")


def _restricted(cfg: DictConfig) -> Iterator[tuple[Key, Any]]:
    """Yields the keys that only the command line may set, with their values, interpolations not resolved."""
    for root in ("hydra", "trust"):
        for key, value in _leaves(OmegaConf.to_container(cfg).get(root), (root,)):  # type: ignore[union-attr]
            if key[:2] not in _SET_BY_HYDRA and key[:3] not in _SET_BY_HYDRA:
                yield key, value


def _leaves(node: Any, key: Key) -> Iterator[tuple[Key, Any]]:
    if isinstance(node, dict) and node:
        for name, value in node.items():
            yield from _leaves(value, (*key, str(name)))
    else:
        yield key, node


def _is_allowed(key: Key, value: Any) -> bool:
    """Returns whether a file may set this: an allowed key, to plain values that refer to nothing."""
    # The names in hydra.sweeper.params become overrides of the command line: `seed`, but also `+hydra.callbacks.x`.
    swept = key[:-1] == _PARAMS and key[-1][:1].isalpha() and not key[-1].startswith(("hydra", "trust"))
    values = value if isinstance(value, list) else [value]
    return (key in _ALLOWED or swept) and not any(isinstance(one, dict | list) or "${" in str(one) for one in values)


def _holds_without_files(override: Override) -> bool:
    """Returns whether an override can be used without the user's files: one of hydra's, or `trust`."""
    restricted = override.is_hydra_override() or override.key_or_group == "trust"
    return restricted and override.package is None and override.key_or_group != "hydra.searchpath"


def _chooses_nothing(cfg: DictConfig, overrides: Sequence[str]) -> bool:
    """Returns whether neither input nor store nor model is given: all paths are missing, and no stage is chosen."""
    keys = {override.key_or_group for override in OverridesParser.create().parse_overrides(list(overrides))}
    chosen = keys & {*_STAGES, *(f"{stage}._target_" for stage in _STAGES)}
    return not chosen and all(OmegaConf.is_missing(cfg[stage], "path") for stage in _STAGES)


def _has_key(config: Any, key: Key) -> bool:
    for name in key:
        if not isinstance(config, DictConfig) or config._is_none() or name not in config:
            return False
        config = config._get_node(name)
    return True


def _refusal(key: Key, file: str) -> UserError:
    name = ".".join(key)
    return UserError(f"{name}: set by {file}; a file may not say this, only the command line, because it can run code")
