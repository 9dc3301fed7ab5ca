"""Fetches published files from Zenodo and Hugging Face. A file gets its name when it is whole and checked, not before.

Both sites are read by one loop of HTTP ranges. `hf_hub_download` is not used: of release 2.4 it removes what a cut
download has brought, compares no SHA-256 over HTTP, and writes what a server sends until the disk is full.
"""

import errno
import hashlib
import json
import os
import re
import reprlib
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from huggingface_hub import constants, get_hf_file_metadata, get_session, hf_hub_url
from tqdm import tqdm

from stonkgs.disk import make_folder, sync_folder
from stonkgs.errors import UserError, printable
from stonkgs.model.weights import first_sentence
from stonkgs.published.cache import ELSEWHERE
from stonkgs.published.catalog import Place

#: Zenodo asks programs to say who they are. No token is sent, nor what else is installed.
HEADERS: Final = {"user-agent": f"stonkgs/{version('stonkgs')}", "accept-encoding": "identity"}
#: The seconds that a site may be silent.
TIMEOUT: Final = 20
#: A download fails when this many attempts in a row bring no new byte.
ATTEMPTS: Final = 3
#: Limits in bytes for the description of a record and for a file. Nothing that was published comes near them.
LONGEST_RECORD, LARGEST = 4 << 20, 1 << 40
AGAIN: Final = "the same command fetches it again"


@dataclass(frozen=True, slots=True)
class Remote:
    """A file as its site describes it."""

    title: str
    url: str
    path: Path
    size: int
    #: "md5:" or "sha256:" and hexadecimal digits; None if the site tells no such digest
    digest: str | None

    @property
    def part(self) -> Path:
        """The file that downloads append to. It stays when they fail."""
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def here(self) -> int:
        """How many bytes earlier attempts have brought."""
        return self.part.stat().st_size if self.part.exists() else 0


def fetch(places: Sequence[Place], folder: Path) -> None:
    """Fetch the files of `places` that `folder` lacks. Files that are there are used as they are, whoever put them.

    Asks the network for nothing if no file is missing. Raises UserError; if the network is the reason, it names all
    missing files.
    """
    remotes: list[Remote] = []
    for place in places:
        with _explaining(place.page, places, folder):
            remotes += _describe(place, folder)
    if remotes:
        _announce(remotes, folder)
    for remote in remotes:
        with _explaining(remote.title, places, folder):
            _download(remote)


def _missing(place: Place, folder: Path) -> list[str]:
    return [name for name in place.files if not (folder / place.folder / name).is_file()]


def _describe(place: Place, folder: Path) -> Iterator[Remote]:
    """Ask the site about the missing files. Raises ValueError if its answer makes no sense."""
    if not (names := _missing(place, folder)):
        return
    for name, (url, size, digest) in zip(names, _SITES[place.site](place.name, names), strict=True):
        if type(size) is not int or not 0 < size < LARGEST:
            raise ValueError(f"{name} has a size of {reprlib.repr(size)}")
        yield Remote(f"{name} of {place.page}", url, folder / place.folder / name, size, digest)


def _zenodo(record: str, names: Sequence[str]) -> Iterator[tuple[str, Any, str]]:
    """Give the address, size and MD5 of files of a record. Of the addresses in Zenodo's answer none is used."""
    base = os.environ.get("STONKGS_ZENODO", "").rstrip("/") or "https://zenodo.org"
    if not base.startswith(("http://", "https://")):
        raise UserError(f"STONKGS_ZENODO={base}: is the address of a mirror of https://zenodo.org, https://...")
    described = _read_record(f"{base}/api/records/{record}")
    for name in names:
        if not isinstance(file := described.get(name), dict):
            raise ValueError(f"there is no {name}")
        if not re.fullmatch(r"md5:[0-9a-f]{32}", digest := str(file.get("checksum"))):
            raise ValueError(f"{name} has no MD5")
        yield f"{base}/api/records/{record}/files/{name}/content", file.get("size"), digest


def _read_record(url: str) -> dict[str, Any]:
    """Read what a record says of each file, by name. Raises ValueError if that is too long or no record."""
    text = b""
    with _answer(url) as answer:
        for chunk in answer.iter_bytes():
            text += chunk
            if len(text) > LONGEST_RECORD:
                raise ValueError(f"over {LONGEST_RECORD:,} bytes that describe no files")
    try:
        return {file["key"]: file for file in json.loads(text)["files"]}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"an answer that describes no files: {first_sentence(error)}") from error


def _hugging_face(repository: str, names: Sequence[str]) -> Iterator[tuple[str, Any, str | None]]:
    """Give the address and size of files of a repository, and the SHA-256, which the site has for large files only."""
    # huggingface_hub reads HF_ENDPOINT when it is imported. Here it counts when a file is fetched.
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"
    for name in names:
        url = hf_hub_url(repository, name, endpoint=endpoint)
        with _no_telemetry():
            facts = get_hf_file_metadata(url, token=False, timeout=TIMEOUT, headers=HEADERS)
        yield url, facts.size, f"sha256:{facts.etag}" if re.fullmatch("[0-9a-f]{64}", facts.etag or "") else None


@contextmanager
def _no_telemetry() -> Iterator[None]:
    """Keep huggingface_hub from asking its site for names of programs, to send along which one this is."""
    before, constants.HF_HUB_DISABLE_TELEMETRY = constants.HF_HUB_DISABLE_TELEMETRY, True
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_TELEMETRY = before


_SITES: Final = {"zenodo": _zenodo, "huggingface": _hugging_face}


def _announce(remotes: Sequence[Remote], folder: Path) -> None:
    """Tell what is fetched and how large it is. Raises UserError if the disk has no room for it."""
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
    """Fetch a file, and rename it when all of it is on the disk and is what the site has described."""
    make_folder(remote.path.parent)
    if remote.here > remote.size:
        remote.part.unlink()
    try:
        _fill(remote)
        _check(remote)
    except UserError:  # these are other bytes than the file's: nothing can be appended to them
        remote.part.unlink(missing_ok=True)
        raise
    with open(remote.part, "rb") as file:
        os.fsync(file.fileno())
    remote.part.replace(remote.path)
    sync_folder(remote.path.parent)


def _fill(remote: Remote) -> None:
    """Append what is left, in several attempts if connections are cut."""
    failed = 0
    while (before := remote.here) < remote.size:
        try:
            _append(remote, before)
            return
        except (UserError, OSError):  # wrong bytes, or the disk: another attempt would end the same way
            raise
        except Exception as error:  # huggingface_hub brings httpx or its successor, whose errors share no class
            failed = 0 if remote.here > before else failed + 1
            if failed == ATTEMPTS or hasattr(error, "response"):  # the site has answered, with a refusal
                raise
            time.sleep(1)


def _append(remote: Remote, start: int) -> None:
    """Append the bytes from `start` on. Raises UserError if more come than the site has told: they may never end."""
    with _answer(remote.url, start) as answer:
        mode = "ab" if answer.status_code == 206 else "wb"  # 206: only the range, else all of the file
        with open(remote.part, mode) as file, _progress(remote, file.tell()) as progress:
            for chunk in answer.iter_bytes():
                if file.tell() + len(chunk) > remote.size:
                    raise UserError(f"{remote.title}: more than its {remote.size:,} bytes came; {AGAIN}")
                file.write(chunk)
                progress.update(len(chunk))


def _progress(remote: Remote, start: int) -> Any:
    """A progress bar, on terminals only."""
    return tqdm(desc=remote.path.name, total=remote.size, initial=start, unit="B", unit_scale=True, disable=None)


@contextmanager
def _answer(url: str, start: int = 0) -> Iterator[Any]:
    """Give the answer to GET, for the bytes from `start` on. A site that says it is busy is asked twice more."""
    headers = HEADERS | ({"range": f"bytes={start}-"} if start else {})
    for wait in (1, 2, 0):
        with get_session().stream("GET", url, headers=headers, timeout=TIMEOUT, follow_redirects=True) as answer:
            if answer.status_code != 429 or not wait:
                answer.raise_for_status()
                yield answer
                return
        time.sleep(wait)


def _check(remote: Remote) -> None:
    """Raise UserError if the downloaded bytes are not what the site has described."""
    if remote.here != remote.size:
        raise UserError(f"{remote.title}: {remote.here:,} bytes came, not its {remote.size:,}; {AGAIN}")
    kind, _, digest = (remote.digest or "").partition(":")
    if kind:
        with open(remote.part, "rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()
        if found != digest:
            raise UserError(f"{remote.title}: came damaged, with the {kind} {found}, not {digest}; {AGAIN}")


@contextmanager
def _explaining(what: str, places: Sequence[Place], folder: Path) -> Iterator[None]:
    """Raise UserError if something cannot be fetched or written. It says why, and which files to put where instead."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of the HTTP library, TLS, a proxy's settings or the disk
        if isinstance(error, OSError) and error.errno in _DISK:
            told = f"{what}: cannot be written to {folder}: {error.strerror}; make room, or {ELSEWHERE}"
            raise UserError(told) from error
        wanted = [(folder / place.folder, _missing(place, folder), place.page) for place in places]
        listed = ", ".join(f"{' and '.join(names)} of {page} into {path}/" for path, names, page in wanted if names)
        told = f"cannot fetch {what} ({_reason(error)}); the same command tries again, or fetch elsewhere {listed}"
        raise UserError(told) from error


#: Errors of the disk, not of the network.
_DISK: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


def _reason(error: Exception) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        return printable(f"{response.status_code} {response.reason_phrase}".strip())
    return re.sub(r"^\[Errno -?\d+\] ", "", first_sentence(error)) or type(error).__name__
