"""Fetches published files from Zenodo and Hugging Face. A file gets its name only when it is complete and checked.

One loop of HTTP range requests serves both sites. `hf_hub_download` is not used: release 2.4 discards the partial file
of an interrupted download, does not verify the SHA-256 over HTTP, and writes without limit what a server sends.
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
from stonkgs.published.catalog import Deposit

#: Zenodo asks programs to identify themselves. No token is sent, and nothing about other installed software.
HEADERS: Final = {"user-agent": f"stonkgs/{version('stonkgs')}", "accept-encoding": "identity"}
#: Seconds without any data after which a request fails.
TIMEOUT: Final = 20
#: A download fails when this many attempts in a row bring no new byte.
ATTEMPTS: Final = 3
#: Limits in bytes for the description of a record and for a file. All published files are far smaller.
MAX_RECORD, MAX_FILE = 4 << 20, 1 << 40
AGAIN: Final = "the same command fetches it again"


@dataclass(frozen=True, slots=True)
class Remote:
    """A file as its site describes it."""

    title: str
    url: str
    path: Path
    size: int
    #: "md5:" or "sha256:" and hexadecimal digits; None if the site states none
    digest: str | None

    @property
    def part(self) -> Path:
        """The file that downloads append to. It is kept when they fail."""
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def received(self) -> int:
        """How many bytes are in the partial file."""
        return self.part.stat().st_size if self.part.exists() else 0


def fetch(deposits: Sequence[Deposit], folder: Path) -> None:
    """Fetch the files of `deposits` that `folder` lacks. Existing files are used as they are, whoever put them there.

    If no file is missing, the network is not used. Raises UserError, which names all missing files if the network
    fails.
    """
    remotes: list[Remote] = []
    for deposit in deposits:
        with _explaining_errors(deposit.page, deposits, folder):
            remotes += _describe(deposit, folder)
    if remotes:
        _announce(remotes, folder)
    for remote in remotes:
        with _explaining_errors(remote.title, deposits, folder):
            _download(remote)


def _missing(deposit: Deposit, folder: Path) -> list[str]:
    return [name for name in deposit.files if not (folder / deposit.folder / name).is_file()]


def _describe(deposit: Deposit, folder: Path) -> Iterator[Remote]:
    """Ask the site for the sizes and digests of missing files. Raises ValueError if its answer makes no sense."""
    if not (names := _missing(deposit, folder)):
        return
    for name, (url, size, digest) in zip(names, _SITES[deposit.site](deposit.name, names), strict=True):
        if type(size) is not int or not 0 < size < MAX_FILE:
            raise ValueError(f"{name} has a size of {reprlib.repr(size)}")
        yield Remote(f"{name} of {deposit.page}", url, folder / deposit.folder / name, size, digest)


def _zenodo(record: str, names: Sequence[str]) -> Iterator[tuple[str, Any, str]]:
    """Yields address, size and MD5 of a record's files. Addresses in Zenodo's answer are not used."""
    base = os.environ.get("STONKGS_ZENODO", "").rstrip("/") or "https://zenodo.org"
    if not base.startswith(("http://", "https://")):
        raise UserError(
            f"STONKGS_ZENODO={base}: must be the address of a mirror of https://zenodo.org, such as https://..."
        )
    described = _read_record(f"{base}/api/records/{record}")
    for name in names:
        if not isinstance(file := described.get(name), dict):
            raise ValueError(f"there is no {name}")
        if not re.fullmatch(r"md5:[0-9a-f]{32}", digest := str(file.get("checksum"))):
            raise ValueError(f"{name} has no MD5")
        yield f"{base}/api/records/{record}/files/{name}/content", file.get("size"), digest


def _read_record(url: str) -> dict[str, Any]:
    """Returns file name -> its description in a record. Raises ValueError if the answer is too long or no record."""
    text = b""
    with _answer(url) as answer:
        for chunk in answer.iter_bytes():
            text += chunk
            if len(text) > MAX_RECORD:
                raise ValueError(f"over {MAX_RECORD:,} bytes that describe no files")
    try:
        return {file["key"]: file for file in json.loads(text)["files"]}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"an answer that describes no files: {first_sentence(error)}") from error


def _hugging_face(repository: str, names: Sequence[str]) -> Iterator[tuple[str, Any, str | None]]:
    """Yields address, size and SHA-256 of a repository's files. The site has the SHA-256 of large files only."""
    # huggingface_hub reads HF_ENDPOINT when it is imported; here it is read for each fetch.
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"
    for name in names:
        url = hf_hub_url(repository, name, endpoint=endpoint)
        with _no_telemetry():
            metadata = get_hf_file_metadata(url, token=False, timeout=TIMEOUT, headers=HEADERS)
        yield (
            url,
            metadata.size,
            f"sha256:{metadata.etag}" if re.fullmatch("[0-9a-f]{64}", metadata.etag or "") else None,
        )


@contextmanager
def _no_telemetry() -> Iterator[None]:
    """Keep huggingface_hub from detecting the calling program and sending its name along."""
    before, constants.HF_HUB_DISABLE_TELEMETRY = constants.HF_HUB_DISABLE_TELEMETRY, True
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_TELEMETRY = before


_SITES: Final = {"zenodo": _zenodo, "huggingface": _hugging_face}


def _announce(remotes: Sequence[Remote], folder: Path) -> None:
    """Print what will be fetched and how large it is. Raises UserError if the disk has too little room."""
    whole, left = sum(r.size for r in remotes), sum(max(0, r.size - r.received) for r in remotes)
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
    """Fetch a file, and rename it once it is on the disk completely and matches its description."""
    make_folder(remote.path.parent)
    if remote.received > remote.size:
        remote.part.unlink()
    try:
        _fill(remote)
        _check(remote)
    except UserError:  # the bytes are wrong, so nothing can be appended to them
        remote.part.unlink(missing_ok=True)
        raise
    with open(remote.part, "rb") as file:
        os.fsync(file.fileno())
    remote.part.replace(remote.path)
    sync_folder(remote.path.parent)


def _fill(remote: Remote) -> None:
    """Append the missing bytes, in several attempts if connections break."""
    failed = 0
    while (before := remote.received) < remote.size:
        try:
            _append(remote, before)
            return
        except (UserError, OSError):  # wrong bytes or a disk error: another attempt would fail the same way
            raise
        except Exception as error:  # huggingface_hub brings httpx or its successor, whose errors share no class
            failed = 0 if remote.received > before else failed + 1
            if failed == ATTEMPTS or hasattr(error, "response"):  # the site refused
                raise
            time.sleep(1)


def _append(remote: Remote, start: int) -> None:
    """Append the bytes from `start` on. Raises UserError if more bytes come than announced: they may never end."""
    with _answer(remote.url, start) as answer:
        mode = "ab" if answer.status_code == 206 else "wb"  # 206 is the range only; any other answer is the whole file
        with open(remote.part, mode) as file, _progress_bar(remote, file.tell()) as bar:
            for chunk in answer.iter_bytes():
                if file.tell() + len(chunk) > remote.size:
                    raise UserError(f"{remote.title}: more than its {remote.size:,} bytes came; {AGAIN}")
                file.write(chunk)
                bar.update(len(chunk))


def _progress_bar(remote: Remote, start: int) -> Any:
    """Returns a progress bar that is shown on terminals only."""
    return tqdm(desc=remote.path.name, total=remote.size, initial=start, unit="B", unit_scale=True, disable=None)


@contextmanager
def _answer(url: str, start: int = 0) -> Iterator[Any]:
    """Open the response to GET for the bytes from `start` on. A busy site (status 429) is asked twice more."""
    headers = HEADERS | ({"range": f"bytes={start}-"} if start else {})
    for wait in (1, 2, 0):
        with get_session().stream("GET", url, headers=headers, timeout=TIMEOUT, follow_redirects=True) as answer:
            if answer.status_code != 429 or not wait:
                answer.raise_for_status()
                yield answer
                return
        time.sleep(wait)


def _check(remote: Remote) -> None:
    """Raises UserError if the downloaded bytes do not match the size and digest."""
    if remote.received != remote.size:
        raise UserError(f"{remote.title}: {remote.received:,} bytes came, not its {remote.size:,}; {AGAIN}")
    kind, _, digest = (remote.digest or "").partition(":")
    if kind:
        with open(remote.part, "rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()
        if found != digest:
            raise UserError(f"{remote.title}: came damaged, with the {kind} {found}, not {digest}; {AGAIN}")


@contextmanager
def _explaining_errors(what: str, deposits: Sequence[Deposit], folder: Path) -> Iterator[None]:
    """Turn errors into a UserError that says why, and which files the user can put where instead."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # from the HTTP library, TLS, proxy settings or the disk
        if isinstance(error, OSError) and error.errno in _DISK:
            message = f"{what}: cannot be written to {folder}: {error.strerror}; make room, or {ELSEWHERE}"
            raise UserError(message) from error
        wanted = [(folder / deposit.folder, _missing(deposit, folder), deposit.page) for deposit in deposits]
        listed = ", ".join(f"{' and '.join(names)} of {page} into {path}/" for path, names, page in wanted if names)
        message = f"cannot fetch {what} ({_reason(error)}); the same command tries again, or fetch elsewhere {listed}"
        raise UserError(message) from error


#: Error numbers that come from the disk, not from the network.
_DISK: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


def _reason(error: Exception) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        return printable(f"{response.status_code} {response.reason_phrase}".strip())
    return re.sub(r"^\[Errno -?\d+\] ", "", first_sentence(error)) or type(error).__name__
