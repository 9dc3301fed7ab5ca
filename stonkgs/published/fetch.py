"""Files from Zenodo and Hugging Face: there whole and checked, or not at all; what was cut short is gone on with."""

import errno
import hashlib
import io
import json
import logging
import os
import re
import reprlib
import shutil
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import http_stream_backoff  # type: ignore[attr-defined]  # public, if not in __all__

from stonkgs.disk import make_folder, sync_folder
from stonkgs.errors import UserError, printable
from stonkgs.model.weights import first_sentence
from stonkgs.published.cache import ELSEWHERE
from stonkgs.published.catalog import Place

#: Zenodo asks programs to say who they are. No token is sent, nor what else is installed.
HEADERS: Final = {"user-agent": f"stonkgs/{version('stonkgs')}", "accept-encoding": "identity"}
#: Seconds without an answer to a question about files.
TIMEOUT: Final = 20
#: Bytes of what describes a record, and of a file: beyond any that was published.
LONGEST_RECORD, LARGEST = 4 << 20, 1 << 40
#: What to do where something else came.
AGAIN: Final = "the same command fetches it again"
#: What is the disk's fault, and not the network's.
FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


@dataclass(frozen=True, slots=True)
class Remote:
    """A file as its site describes it."""

    place: Place
    url: str
    path: Path
    size: int
    #: "md5:" or "sha256:" and hexadecimal digits; None where the site says none
    digest: str | None

    @property
    def part(self) -> Path:
        """Where it grows."""
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def here(self) -> int:
        """Bytes that an earlier attempt has brought."""
        return self.part.stat().st_size if self.part.exists() else 0

    def __str__(self) -> str:
        return f"{self.path.name} of {self.place.page}"


def fetch(places: Sequence[Place], folder: Path) -> None:
    """Fetch what `folder` lacks of these files. A file that is there, put by whomever, is taken as it is.

    Nothing is asked of the network where nothing is missing. Raises UserError, which names all that is missing where
    the network is the reason.
    """
    if not any(_missing(place, folder) for place in places):
        return
    remotes: list[Remote] = []
    with _quiet():
        for place in places:
            with _reaching(place.page, places, folder):
                remotes += _SITES[place.site](place, folder)
        _announce(remotes, folder)
        for remote in remotes:
            with _reaching(str(remote), places, folder):
                _download(remote)


def _missing(place: Place, folder: Path) -> list[str]:
    return [name for name in place.files if not (folder / place.folder / name).is_file()]


def _zenodo(place: Place, folder: Path) -> Iterator[Remote]:
    """What a record lacks here. Of what Zenodo says of it sizes and digests are taken alone, never an address.

    Raises ValueError where it makes no sense.
    """
    if not (names := _missing(place, folder)):
        return
    base = os.environ.get("STONKGS_ZENODO", "").rstrip("/") or "https://zenodo.org"
    if not base.startswith(("http://", "https://")):
        raise UserError(f"STONKGS_ZENODO={base}: is the address of a mirror of https://zenodo.org, https://...")
    record = f"{base}/api/records/{place.name}"
    described = _described(_read(record))
    for name in names:
        if not isinstance(file := described.get(name), dict):
            raise ValueError(f"there is no {name}")
        size, digest = _sensible(file.get("size"), name), str(file.get("checksum"))
        if not re.fullmatch(r"md5:[0-9a-f]{32}", digest):
            raise ValueError(f"{name} has no MD5")
        yield Remote(place, f"{record}/files/{name}/content", folder / place.folder / name, size, digest)


def _read(url: str) -> bytes:
    """A short answer; ValueError for a long one."""
    text = b""
    with http_stream_backoff(
        "GET", url, max_retries=2, retry_on_exceptions=(), headers=HEADERS, timeout=TIMEOUT
    ) as response:
        response.raise_for_status()
        for chunk in response.iter_bytes():
            text += chunk
            if len(text) > LONGEST_RECORD:
                raise ValueError(f"over {LONGEST_RECORD:,} bytes that describe no files")
    return text


def _described(text: bytes) -> dict[str, Any]:
    """What a record says of each file, by its name; ValueError where it is no record."""
    try:
        return {file["key"]: file for file in json.loads(text)["files"]}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"an answer that describes no files: {first_sentence(error)}") from error


def _hugging_face(place: Place, folder: Path) -> Iterator[Remote]:
    """What a repository lacks here. Large files have a SHA-256 there, others a digest of git's.

    Raises ValueError where what it says makes no sense.
    """
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
    for name in _missing(place, folder):
        url = hf_hub_url(place.name, name, endpoint=endpoint)
        facts = get_hf_file_metadata(url, token=False, timeout=TIMEOUT, headers=HEADERS)
        digest = f"sha256:{facts.etag}" if re.fullmatch(r"[0-9a-f]{64}", facts.etag or "") else None
        yield Remote(place, url, folder / place.folder / name, _sensible(facts.size, name), digest)


_SITES: Final = {"zenodo": _zenodo, "huggingface": _hugging_face}


def _sensible(size: Any, name: str) -> int:
    if type(size) is not int or not 0 < size < LARGEST:
        raise ValueError(f"{name} has a size of {reprlib.repr(size)}")
    return size


def _announce(remotes: Sequence[Remote], folder: Path) -> None:
    """Say what is fetched and how large it is; UserError where the disk has no room for it."""
    whole, left = sum(r.size for r in remotes), sum(max(0, r.size - r.here) for r in remotes)
    make_folder(folder)
    if (free := shutil.disk_usage(folder).free) < left:
        raise UserError(
            f"{folder}: {_bytes(left)} are to be fetched, and {_bytes(free)} are free; make room, or {ELSEWHERE}"
        )
    names = ", ".join(f"{r.path.name} ({_bytes(r.size)})" for r in remotes)
    begun = f", {_bytes(whole - left)} of it here already" if left < whole else ""
    print(printable(f"fetching {names} to {folder}: {_bytes(whole)}{begun}"), file=sys.stderr)


def _bytes(number: int) -> str:
    return f"{number / 1e6:,.1f} MB" if number >= 1e5 else f"{number / 1e3:,.1f} kB"


def _download(remote: Remote) -> None:
    """The file, under its name when all of it is on the disk and is what the site says it is."""
    make_folder(remote.path.parent)
    if remote.here > remote.size:
        remote.part.unlink()
    try:
        _fill(remote)
        _check(remote)
    except UserError:  # not what was promised: nothing to go on from
        remote.part.unlink(missing_ok=True)
        raise
    with open(remote.part, "rb") as file:
        os.fsync(file.fileno())
    remote.part.replace(remote.path)
    sync_folder(remote.path.parent)


def _fill(remote: Remote) -> None:
    """Append what is left, in further attempts as long as each brings something."""
    while (before := remote.here) < remote.size:
        try:
            with _Growing(remote) as file:
                name = remote.path.name
                http_get(remote.url, file, resume_size=before, headers=HEADERS, displayed_filename=name)
            return
        except UserError:
            raise
        except Exception:  # of two HTTP libraries and the socket below them
            if remote.here <= before:
                raise


class _Growing(io.BufferedWriter):
    """The part, which is appended to and gets no larger than the site has said: what it sends may never end."""

    def __init__(self, remote: Remote) -> None:
        super().__init__(io.FileIO(remote.part, "a"))
        self.remote = remote

    def write(self, data: Any) -> int:
        """Append, or UserError."""
        if self.tell() + len(data) > self.remote.size:
            raise UserError(
                f"{self.remote}: more than the {self.remote.size:,} bytes came that it should have; {AGAIN}"
            )
        return super().write(data)


def _check(remote: Remote) -> None:
    """UserError where the part is not what the site says it is."""
    if remote.here != remote.size:
        raise UserError(f"{remote}: {remote.here:,} bytes came, not the {remote.size:,} that it should have; {AGAIN}")
    kind, _, digest = (remote.digest or "").partition(":")
    if kind:
        with open(remote.part, "rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()
        if found != digest:
            raise UserError(f"{remote}: came damaged, with the {kind} {found}, not {digest}; {AGAIN}")


@contextmanager
def _reaching(what: str, places: Sequence[Place], folder: Path) -> Iterator[None]:
    """UserError where something cannot be fetched or written: why, and what else would do."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of two HTTP libraries, TLS, a proxy's settings, the disk
        if isinstance(error, OSError) and error.errno in FULL:
            told = f"{what}: cannot be written to {folder}: {error.strerror}; make room, or {ELSEWHERE}"
            raise UserError(told) from error
        wanted = {folder / place.folder: (_missing(place, folder), place.page) for place in places}
        told = f"cannot fetch {what} ({_reason(error)}); the same command tries again, or fetch elsewhere "
        raise UserError(told + _listed(wanted)) from error


def _listed(wanted: Mapping[Path, tuple[list[str], str]]) -> str:
    """Which files go where, for who fetches them by hand."""
    some = {folder: (names, page) for folder, (names, page) in wanted.items() if names}
    return ", ".join(f"{' and '.join(names)} of {page} into {folder}/" for folder, (names, page) in some.items())


def _reason(error: Exception) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        return printable(f"{response.status_code} {response.reason_phrase}".strip())
    return re.sub(r"^\[Errno -?\d+\] ", "", first_sentence(error)) or type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the libraries' own words and telemetry, here alone: errors are told in a line of ours."""
    before, telemetry = logging.root.manager.disable, constants.HF_HUB_DISABLE_TELEMETRY
    logging.disable(logging.CRITICAL)
    constants.HF_HUB_DISABLE_TELEMETRY = True  # which would ask the network which programs there are, to name this one
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
        constants.HF_HUB_DISABLE_TELEMETRY = telemetry
