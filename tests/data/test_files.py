"""Files of the builders: found in a folder, or downloaded and verified."""

import hashlib
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from seq2seq_jax.data.builders.files import Remote, download, fingerprint, locate, verify
from seq2seq_jax.data.holdout import share
from seq2seq_jax.types import InputError

CONTENT = b"some bytes\n" * 1000


def remote(url: str, content: bytes = CONTENT) -> Remote:
    return Remote(url, len(content), hashlib.sha256(content).hexdigest())


@pytest.fixture
def published(tmp_path):
    path = tmp_path / "published.gz"
    path.write_bytes(CONTENT)
    return path


def test_download_from_a_file(published, tmp_path):
    path = download(remote(published.as_uri()), tmp_path / "new" / "copy.gz")
    assert path.read_bytes() == CONTENT
    published.unlink()  # there already, so it is not downloaded again
    assert download(remote(published.as_uri()), path) == path


def test_download_over_http(published, tmp_path):
    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(published.parent))

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/"
            path = download(remote(url + "published.gz"), tmp_path / "copy.gz")
            assert path.read_bytes() == CONTENT
            with pytest.raises(InputError, match=r"none\.gz cannot be downloaded: .*404"):
                download(remote(url + "none.gz"), tmp_path / "none.gz")
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("expected", [CONTENT[:-1] + b"!", CONTENT + b"!"])
def test_what_does_not_verify_is_not_used(published, tmp_path, expected):
    target = tmp_path / "new" / "copy.gz"
    with pytest.raises(InputError, match="not the published file") as error:
        download(remote(published.as_uri(), expected), target)
    for value in (len(CONTENT), len(expected)):
        assert f"{value} bytes" in str(error.value)
    for content in (CONTENT, expected):
        assert hashlib.sha256(content).hexdigest() in str(error.value)
    assert list(target.parent.iterdir()) == []


def test_a_damaged_file_in_the_cache_is_not_used(published, tmp_path):
    path = download(remote(published.as_uri()), tmp_path / "copy.gz")
    path.write_bytes(CONTENT[:-5])
    with pytest.raises(InputError, match="not the published file"):
        download(remote(published.as_uri()), path)
    verify(published, len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


def test_files_are_found_plain_or_gz(tmp_path):
    (tmp_path / "a").touch()
    (tmp_path / "b.gz").touch()
    assert locate(tmp_path, ["b", "a"], "") == [tmp_path / "b.gz", tmp_path / "a"]
    with pytest.raises(InputError, match=r"has no c, d \(nor the same with \.gz\)\nGet them"):
        locate(tmp_path, ["a", "c", "d"], "Get them")


def test_fingerprint_follows_the_content(tmp_path):
    paths = [tmp_path / "a", tmp_path / "b"]
    paths[0].write_text("x")
    paths[1].write_text("yz")
    before = fingerprint(paths)
    assert before == fingerprint(paths)
    paths[0].write_text("xy")
    paths[1].write_text("z")
    assert fingerprint(paths) != before


def test_share_is_uniform_and_fixed():
    assert share("je suis") == pytest.approx(0.2, abs=1)
    shares = [share(str(i)) for i in range(2000)]
    assert all(0 <= value < 1 for value in shares)
    assert 0.08 < sum(value < 0.1 for value in shares) / 2000 < 0.12
