"""Downloads from a server that does everything wrong that servers do, on this machine."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from metadcseg.data.download import transfer as downloads
from metadcseg.data.download.transfer import Archive, Patience, download
from metadcseg.errors import InputError

CONTENT = bytes(range(256)) * 12_000  # 3 MB
SHA = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
QUICK = Patience(connect=2.0, read=0.3, attempts=3, pause=0.01)


class Server(ThreadingHTTPServer):
    """Answers as its list of faults says, one per request, and properly when it is empty."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults, self.asked, self.content, self.tag, self.ranges = [], [], CONTENT, '"one"', True
        self.release = threading.Event()

    def archive(self, digest=SHA):
        return Archive(f"http://127.0.0.1:{self.server_port}/file.zip", "file.zip", digest)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        """Say nothing."""

    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.asked.append(asked)
        fault = server.faults.pop(0) if server.faults else None
        if isinstance(fault, int):
            self.send_error(fault)
            return
        if isinstance(fault, str) and fault.startswith("http"):
            self.send_response(302)
            self.send_header("Location", fault)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = 0
        same = self.headers.get("If-Range") == server.tag
        if asked and server.ranges and same:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(server.content):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(server.content) - start))
        self.send_header("ETag", server.tag)
        if start:
            self.send_header(
                "Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}"
            )
        self.end_headers()
        body = server.content[start:]
        if fault in ("cut", "stall"):
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            if fault == "stall":
                server.release.wait(10)
            self.close_connection = True
            self.connection.close()
            return
        self.wfile.write(body)


@pytest.fixture
def server():
    serving = Server()
    thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield serving
    serving.release.set()
    serving.shutdown()
    serving.server_close()
    thread.join()


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_comes_once(server, tmp_path):
    seen = []
    path = download(
        server.archive(), tmp_path / "new", patience=QUICK, progress=lambda *done: seen.append(done)
    )
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert len(seen) >= 3
    assert left(tmp_path / "new") == ["file.zip"]
    assert download(server.archive(), tmp_path / "new", patience=QUICK) == path
    assert len(server.asked) == 1


@pytest.mark.parametrize("fault", ["cut", "stall"])
def test_what_was_cut_or_stalled_goes_on(fault, server, tmp_path):
    server.faults = [fault, fault]
    assert download(server.archive(), tmp_path, patience=QUICK).read_bytes() == CONTENT
    begun = [int((asked or "bytes=0-")[6:-1]) for asked in server.asked]
    half, rest = len(CONTENT) // 2, len(CONTENT) // 4
    assert begun == [0, pytest.approx(half, abs=2**16), pytest.approx(half + rest, abs=2**17)]


def test_the_next_call_goes_on_where_the_last_gave_up(server, tmp_path):
    server.faults = ["cut"] * 3
    with pytest.raises(
        InputError, match=r"cannot be fetched .* MiB are here, the same command goes on from there"
    ):
        download(server.archive(), tmp_path, patience=QUICK)
    held = (tmp_path / "file.zip.part").stat().st_size
    assert 0 < held < len(CONTENT)
    assert download(server.archive(), tmp_path, patience=QUICK).read_bytes() == CONTENT
    assert server.asked[-1] == f"bytes={held}-"
    assert left(tmp_path) == ["file.zip"]


def test_ctrl_c_keeps_what_came(server, tmp_path):
    def stop(done, total):
        if done > 2**20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(server.archive(), tmp_path, patience=QUICK, progress=stop)
    assert (tmp_path / "file.zip.part").stat().st_size > 2**20
    assert download(server.archive(), tmp_path, patience=QUICK).read_bytes() == CONTENT
    assert server.asked[-1] is not None


def test_a_file_that_changed_meanwhile_begins_anew(server, tmp_path):
    server.faults = ["cut"] * 3
    with pytest.raises(InputError):
        download(server.archive(), tmp_path, patience=QUICK)
    server.content, server.tag = CONTENT[::-1], '"two"'
    digest = "md5:" + hashlib.md5(server.content, usedforsecurity=False).hexdigest()
    assert download(server.archive(digest), tmp_path, patience=QUICK).read_bytes() == CONTENT[::-1]


def test_a_server_without_ranges_begins_anew(server, tmp_path):
    server.faults, server.ranges = ["cut"], False
    assert download(server.archive(), tmp_path, patience=QUICK).read_bytes() == CONTENT


def test_a_part_that_is_too_long_begins_anew(server, tmp_path):
    (tmp_path / "file.zip.part").write_bytes(CONTENT + b"more")
    (tmp_path / "file.zip.part.tag").write_text('"\\"one\\""')
    assert download(server.archive(), tmp_path, patience=QUICK).read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_a_wrong_checksum_is_not_kept(server, tmp_path):
    with pytest.raises(InputError, match=r"checksum sha256:.*, expected sha256:00: .*--source"):
        download(server.archive("sha256:00"), tmp_path, patience=QUICK)
    assert not (tmp_path / "file.zip").exists()
    assert not (tmp_path / "file.zip.part").exists()
    (tmp_path / "file.zip").write_bytes(b"other")
    with pytest.raises(InputError, match=r"its checksum differs.*move it away"):
        download(server.archive(), tmp_path, patience=QUICK)
    assert (tmp_path / "file.zip").read_bytes() == b"other"


@pytest.mark.parametrize(
    ("status", "says"), [(404, "nothing is there any more"), (403, "it refuses"), (401, "login")]
)
def test_a_refusal_is_not_asked_again(status, says, server, tmp_path):
    server.faults = [status, status]
    with pytest.raises(InputError, match=says):
        download(server.archive(), tmp_path, patience=QUICK)
    assert len(server.asked) == 1


def test_a_busy_server_is_asked_again(server, tmp_path):
    server.faults = [503, 500]
    assert download(server.archive(), tmp_path, patience=QUICK).read_bytes() == CONTENT
    server.faults = [503] * 3
    with pytest.raises(InputError, match="the server answers 503"):
        download(Archive(server.archive().url, "again.zip"), tmp_path, patience=QUICK)


def test_only_safe_addresses(server, tmp_path):
    for url in ("http://example.org/a", "ftp://127.0.0.1/a", "file:///etc/passwd"):
        with pytest.raises(InputError, match="is no https address"):
            download(Archive(url, "a"), tmp_path)
    server.faults = [server.archive().url.replace("127.0.0.1", "127.0.0.1.example.org")]
    with pytest.raises(InputError):
        download(server.archive(), tmp_path, patience=Patience(0.2, 0.2, 1, 0.0))
    server.faults = ["http://127.0.0.1:9/elsewhere"]
    with pytest.raises(InputError, match="cannot be fetched"):
        download(server.archive(), tmp_path, patience=Patience(0.2, 0.2, 1, 0.0))


def test_a_full_disk_is_noticed_before(server, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1_000_000})
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(InputError, match="3 MiB are still to come, 1 MiB are free"):
        download(server.archive(), tmp_path, patience=QUICK)


def test_nobody_answers(tmp_path):
    with pytest.raises(InputError, match=r"cannot be fetched .*; 0.0 MiB are here"):
        download(Archive("http://127.0.0.1:9/a", "a"), tmp_path, patience=Patience(0.2, 0.2, 2, 0.0))
