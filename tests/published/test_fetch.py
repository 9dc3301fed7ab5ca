"""Files over the network: whole, checked, continued; and in one line what is wrong with a site, a disk or the way."""

import hashlib
import json
import logging
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from conftest import file_size_limit
from published.server import Handler, Site, cut, instead, redirect, serving, slowly, status, stop, without_end

from stonkgs.errors import UserError
from stonkgs.published import fetch as module
from stonkgs.published.catalog import Deposit
from stonkgs.published.fetch import fetch

#: What no compression makes smaller, larger than a socket's buffers.
CONTENT = os.urandom(1 << 20)
RECORD = Deposit("zenodo", "77", ("a.json", "b.bin"), "zenodo-77")
REPOSITORY = Deposit("huggingface", "owner/name", ("vocab.txt", "c.bin"), "name")
#: Where the site has b.bin and c.bin.
ZENODO, HUB = "/api/records/77/files/b.bin/content", "/owner/name/resolve/main/c.bin"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Any:
    """One record and one repository."""
    with serving() as started:
        started.records = {"77": {"a.json": b"{}", "b.bin": CONTENT, "training_args.bin": b"never asked for"}}
        started.repositories = {"owner/name": {"vocab.txt": b"[PAD]\n", "c.bin": CONTENT[::-1]}}
        monkeypatch.setenv("STONKGS_ZENODO", started.address + "/")
        monkeypatch.setenv("HF_ENDPOINT", started.address)
        monkeypatch.setenv("HF_TOKEN", "hf_nobodys_business")
        yield started


def read(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


#: What is there in the end.
WHOLE = {
    "zenodo-77/a.json": b"{}",
    "zenodo-77/b.bin": CONTENT,
    "name/vocab.txt": b"[PAD]\n",
    "name/c.bin": CONTENT[::-1],
}


def refused(deposits: list[Deposit], folder: Path) -> str:
    """The one line with which it fails."""
    with pytest.raises(UserError) as caught:
        fetch(deposits, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_both_sites(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fetch([RECORD, REPOSITORY], tmp_path)
    assert read(tmp_path) == WHOLE
    told = capsys.readouterr()
    assert told.out == ""
    names = "a.json (0.0 kB), b.bin (1.0 MB), vocab.txt (0.0 kB), c.bin (1.0 MB)"
    assert told.err == f"fetching {names} to {tmp_path}: 2.1 MB\n"


def test_it_says_who_it_is_and_gives_no_token_away(site: Site, tmp_path: Path) -> None:
    fetch([RECORD, REPOSITORY], tmp_path)
    assert {asked.agent for asked in site.asked} == {module.HEADERS["user-agent"]}
    assert {asked.token for asked in site.asked} == {None}
    assert not site.fetched("training_args.bin")


def test_what_is_there_is_taken_as_it_is(site: Site, tmp_path: Path) -> None:
    """Put there by hand: not looked at, and the network is asked for nothing."""
    for deposit in (RECORD, REPOSITORY):
        (tmp_path / deposit.folder).mkdir()
        for name in deposit.files:
            (tmp_path / deposit.folder / name).write_bytes(b"mine")
    fetch([RECORD, REPOSITORY], tmp_path)
    assert set(read(tmp_path).values()) == {b"mine"}
    assert not site.asked
    (tmp_path / RECORD.folder / "a.json").unlink()
    fetch([RECORD, REPOSITORY], tmp_path)
    assert [asked.path for asked in site.asked] == ["/api/records/77", "/api/records/77/files/a.json/content"]


@pytest.mark.parametrize(("deposit", "path"), [(RECORD, ZENODO), (REPOSITORY, HUB)])
def test_a_cut_connection_is_gone_on_with(deposit: Deposit, path: str, site: Site, tmp_path: Path) -> None:
    """From the byte on that came last, and once more where nothing came."""
    site.faults[path] = [cut(700_000), cut(0)]
    fetch([deposit], tmp_path)
    assert read(tmp_path).items() <= WHOLE.items()
    asked = [asked.range for asked in site.asked if asked.path == path and asked.method == "GET"]
    assert asked == [None, "bytes=700000-", "bytes=700000-"]


def test_a_connection_that_is_always_cut(site: Site, tmp_path: Path) -> None:
    """What it has brought stays for the next command."""
    site.faults[HUB] = [cut(700_000), *3 * [cut(0)]]
    assert "; the same command tries again, or fetch elsewhere " in refused([REPOSITORY], tmp_path)
    fetch([REPOSITORY], tmp_path)
    assert read(tmp_path).items() <= WHOLE.items()
    asked = [asked.range for asked in site.fetched("c.bin")]
    assert asked == [None, *4 * ["bytes=700000-"]]


def test_what_an_earlier_process_has_fetched_is_gone_on_with(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "zenodo-77").mkdir()
    (tmp_path / "zenodo-77" / "b.bin.part").write_bytes(CONTENT[:700_000])
    fetch([RECORD], tmp_path)
    assert [asked.range for asked in site.fetched("b.bin")] == ["bytes=700000-"]
    assert (tmp_path / "zenodo-77" / "b.bin").read_bytes() == CONTENT
    assert ": 1.0 MB, 0.7 MB of it here already\n" in capsys.readouterr().err


def test_a_whole_part_is_not_fetched_again(site: Site, tmp_path: Path) -> None:
    """Killed after the last byte, and before the file had its name."""
    (tmp_path / "zenodo-77").mkdir()
    (tmp_path / "zenodo-77" / "b.bin.part").write_bytes(CONTENT)
    fetch([RECORD], tmp_path)
    assert not site.fetched("b.bin")
    assert (tmp_path / "zenodo-77" / "b.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("part", [CONTENT + b"more", os.urandom(1000)], ids=["longer", "another"])
def test_a_part_of_another_file_is_never_used(part: bytes, site: Site, tmp_path: Path) -> None:
    (tmp_path / "zenodo-77").mkdir()
    (tmp_path / "zenodo-77" / "b.bin.part").write_bytes(part)
    if len(part) < len(CONTENT):
        assert "b.bin of https://zenodo.org/records/77: came damaged, with the md5 " in refused([RECORD], tmp_path)
        assert sorted(read(tmp_path)) == ["zenodo-77/a.json"]
    fetch([RECORD], tmp_path)
    assert (tmp_path / "zenodo-77" / "b.bin").read_bytes() == CONTENT


def test_a_server_that_knows_no_ranges_starts_anew(site: Site, tmp_path: Path) -> None:
    (tmp_path / "zenodo-77").mkdir()
    (tmp_path / "zenodo-77" / "b.bin.part").write_bytes(CONTENT[:1000])
    site.faults[ZENODO] = [instead(CONTENT)]
    fetch([RECORD], tmp_path)
    assert (tmp_path / "zenodo-77" / "b.bin").read_bytes() == CONTENT


def test_slow_and_of_unknown_length(site: Site, tmp_path: Path) -> None:
    site.faults[ZENODO] = [slowly]
    fetch([RECORD], tmp_path)
    assert (tmp_path / "zenodo-77" / "b.bin").read_bytes() == CONTENT


def test_a_file_lies_elsewhere(site: Site, tmp_path: Path) -> None:
    """As Hugging Face's large ones do, whose size and digest are in the answer that says where."""
    with serving() as other:
        other.records, other.repositories = site.records, site.repositories
        linked = {"X-Linked-Size": str(len(CONTENT)), "X-Linked-ETag": hashlib.sha256(CONTENT[::-1]).hexdigest()}
        site.faults[f"HEAD {HUB}"] = [redirect(f"{other.address}{HUB}", linked)]
        site.faults[HUB] = [redirect(f"{other.address}{HUB}")]
        site.faults[ZENODO] = [redirect(f"{other.address}{ZENODO}")]
        fetch([RECORD, REPOSITORY], tmp_path)
        assert [asked.path for asked in other.asked if asked.method == "GET"] == [ZENODO, HUB]
        assert {asked.token for asked in other.asked} == {None}
    assert read(tmp_path) == WHOLE


@pytest.mark.parametrize(
    ("path", "deposit", "fault", "message"),
    [
        (ZENODO, RECORD, instead(CONTENT[::-1]), "records/77: came damaged, with the md5 "),
        (HUB, REPOSITORY, instead(CONTENT), "/owner/name: came damaged, with the sha256 "),
        (ZENODO, RECORD, instead(CONTENT[:-1]), "records/77: 1,048,575 bytes came, not its 1,048,576; "),
        (ZENODO, RECORD, instead(CONTENT + b"x"), "records/77: more than its 1,048,576 bytes came"),
        (ZENODO, RECORD, without_end, "records/77: more than its 1,048,576 bytes came"),
        (HUB, REPOSITORY, instead(CONTENT[:-1]), "/owner/name: 1,048,575 bytes came, not its 1,048,576; "),
        (HUB, REPOSITORY, without_end, "/owner/name: more than its 1,048,576 bytes came"),
    ],
)
def test_something_else_is_never_used_and_then_fetched_again(
    path: str, deposit: Deposit, fault: Callable[[Handler, bytes], None], message: str, site: Site, tmp_path: Path
) -> None:
    site.faults[path] = [fault]
    assert message in refused([deposit], tmp_path)
    assert not list(tmp_path.rglob("*.part"))
    assert not list(tmp_path.rglob("*.bin"))
    fetch([deposit], tmp_path)
    assert read(tmp_path).items() <= WHOLE.items()


@pytest.mark.parametrize(
    ("path", "number", "message"),
    [
        ("/api/records/77", 404, "https://zenodo.org/records/77 (404 Not Found)"),
        ("/api/records/77", 403, "https://zenodo.org/records/77 (403 Forbidden)"),
        (ZENODO, 404, "b.bin of https://zenodo.org/records/77 (404 Not Found)"),
        (ZENODO, 500, "b.bin of https://zenodo.org/records/77 (500 Internal Server Error)"),
        (HUB, 503, "c.bin of https://huggingface.co/owner/name (503 Service Unavailable)"),
    ],
)
def test_an_error_of_the_site(path: str, number: int, message: str, site: Site, tmp_path: Path) -> None:
    site.faults[path] = [status(number)]
    assert f"cannot fetch {message}; the same command tries again, or fetch elsewhere " in refused(
        [RECORD, REPOSITORY], tmp_path
    )
    fetch([RECORD, REPOSITORY], tmp_path)
    assert read(tmp_path) == WHOLE


def test_a_site_that_is_busy_is_asked_again(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site.faults["/api/records/77"] = [status(429)]
    fetch([RECORD], tmp_path)
    assert [asked.path for asked in site.asked][:2] == ["/api/records/77"] * 2
    assert capsys.readouterr().err.count("\n") == 1


def test_what_is_gone_from_the_site(site: Site, tmp_path: Path) -> None:
    del site.records["77"]["b.bin"]
    line = refused([RECORD], tmp_path)
    assert line.startswith("cannot fetch https://zenodo.org/records/77 (there is no b.bin); the same command tries")
    assert line.endswith(
        f" fetch elsewhere a.json and b.bin of https://zenodo.org/records/77 into {tmp_path}/zenodo-77/"
    )
    del site.repositories["owner/name"]["c.bin"]
    assert "cannot fetch https://huggingface.co/owner/name (404 Not Found)" in refused([REPOSITORY], tmp_path)
    assert not read(tmp_path)


FILE = {"key": "b.bin", "size": 5, "checksum": f"md5:{32 * '0'}"}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b"null",
        b'{"files": 7}',
        b'{"files": {"b.bin": 7}}',
        b'{"files": ["b.bin"]}',
        b"\xff\xfe",
        100_000 * b"[",
        json.dumps({"files": [FILE, {"key": "a.json"}]}).encode(),
        json.dumps({"files": [FILE | {"key": "a.json", "checksum": f"md5:../{29 * '0'}"}]}).encode(),
        json.dumps({"files": [FILE | {"key": "a.json", "checksum": None}]}).encode(),
        json.dumps({"files": [FILE | {"key": "a.json", "checksum": f"sha1:{40 * '0'}"}]}).encode(),
        json.dumps({"files": [FILE | {"key": ["b.bin"]}]}).encode(),
        (5 << 20) * b" ",
    ],
)
def test_a_description_that_is_none(text: bytes, site: Site, tmp_path: Path) -> None:
    site.faults["/api/records/77"] = [instead(text)]
    line = refused([RECORD], tmp_path)
    why = r"there is no a\.json|an answer that describes no files: .+|over 4,194,304 bytes .+|a\.json has .+"
    assert re.match(rf"cannot fetch https://zenodo.org/records/77 \(({why})\); the same command", line)
    assert [asked.path for asked in site.asked] == ["/api/records/77"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [0, -1, 1 << 50, "5", 5.0, True, None, [], 1e400])
def test_a_size_that_is_none(size: Any, site: Site, tmp_path: Path) -> None:
    files = [FILE | {"key": name, "size": size} for name in RECORD.files]
    site.faults["/api/records/77"] = [instead(json.dumps({"files": files}).encode())]
    assert f"https://zenodo.org/records/77 (a.json has a size of {size!r}); " in refused([RECORD], tmp_path)


def test_names_of_the_description_lead_nowhere(site: Site, tmp_path: Path) -> None:
    """Only names that were asked for are paths, and of addresses none."""
    site.records["77"] |= {"../../evil": b"x", "/etc/evil": b"x", "a.json/../evil\x1b[2J": b"x"}
    fetch([RECORD], tmp_path / "files")
    assert sorted(read(tmp_path)) == ["files/zenodo-77/a.json", "files/zenodo-77/b.bin"]


def missing(folder: Path) -> str:
    """What the line says of who fetches by hand."""
    record = f"a.json and b.bin of https://zenodo.org/records/77 into {folder}/zenodo-77/"
    return f"{record}, vocab.txt and c.bin of https://huggingface.co/owner/name into {folder}/name/"


def test_nobody_is_there(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stop(site)
    line = refused([RECORD, REPOSITORY], tmp_path)
    assert line.startswith("cannot fetch https://zenodo.org/records/77 (Connection refused); the same command tries")
    assert line.endswith(f"or fetch elsewhere {missing(tmp_path)}")
    (tmp_path / "zenodo-77").mkdir()
    (tmp_path / "zenodo-77" / "a.json").touch()
    assert f"or fetch elsewhere b.bin of https://zenodo.org/records/77 into {tmp_path}/zenodo-77/, " in refused(
        [RECORD, REPOSITORY], tmp_path
    )
    assert capsys.readouterr() == ("", "")


def test_no_such_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)  # tests know no name server, and ask none
    monkeypatch.setenv("STONKGS_ZENODO", "http://zenodo.invalid")
    assert "cannot fetch https://zenodo.org/records/77 (Name or service not known); " in refused([RECORD], tmp_path)


def test_a_proxy_that_is_not_there(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{taken.getsockname()[1]}")
        huggingface_hub.close_session()  # proxies are read when a client is made
        try:
            assert "(Connection refused)" in refused([RECORD], tmp_path)
        finally:
            huggingface_hub.close_session()
    assert not site.asked


def test_offline_is_offline(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)  # read when it is imported
    for deposit in (RECORD, REPOSITORY):
        assert "offline mode is enabled" in refused([deposit], tmp_path)
    assert not site.asked


@pytest.mark.parametrize("base", ["ftp://zenodo.org", "file:///etc", "zenodo.org"])
def test_a_mirror_that_is_none(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STONKGS_ZENODO", base)
    assert f"STONKGS_ZENODO={base}: must be the address of a mirror" in refused([RECORD], tmp_path)


def test_the_disk_is_full(site: Site, tmp_path: Path) -> None:
    with file_size_limit(500_000):
        line = refused([RECORD], tmp_path)
    assert line.startswith(f"b.bin of https://zenodo.org/records/77: cannot be written to {tmp_path}: File too large; ")
    assert "make room, or STONKGS_CACHE= names another folder" in line
    fetch([RECORD], tmp_path)
    assert (tmp_path / "zenodo-77" / "b.bin").read_bytes() == CONTENT
    assert site.fetched("b.bin")[-1].range


def test_there_is_no_room_for_it(site: Site, tmp_path: Path) -> None:
    files = [FILE | {"key": "a.json", "size": (1 << 40) - 1}, FILE]
    site.faults["/api/records/77"] = [instead(json.dumps({"files": files}).encode())]
    assert f"{tmp_path}: 1,099,511.6 MB are to be fetched, and " in refused([RECORD], tmp_path)
    assert not site.fetched("a.json")


def test_nothing_else_is_printed(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site.faults[ZENODO] = [cut(300_000)]
    fetch([RECORD, REPOSITORY], tmp_path)
    assert capsys.readouterr().err.count("\n") == 1


def test_what_others_log_meanwhile_is_heard(site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def talking(handler: Handler, content: bytes) -> None:
        logging.getLogger("another.thread").warning("heard")
        handler.answer(200, content)

    site.faults[ZENODO] = [talking]
    with caplog.at_level(logging.WARNING):
        fetch([RECORD], tmp_path)
    assert [record.message for record in caplog.records] == ["heard"]


def test_no_telemetry(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Left alone, the library asks the endpoint of its import for names of programs."""
    for name, value in {
        "HF_HUB_DISABLE_TELEMETRY": False,
        "AGENT_HARNESSES_PATH": str(tmp_path / "asked.json"),
        "ENDPOINT": site.address,
        "HUGGINGFACE_CO_URL_TEMPLATE": site.address + "/{repo_id}/resolve/{revision}/{filename}",
    }.items():
        monkeypatch.setattr(huggingface_hub.constants, name, value, raising=False)
    fetch([REPOSITORY], tmp_path)
    assert {asked.path.split("/")[1] for asked in site.asked} == {"owner"}
    assert not huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY
