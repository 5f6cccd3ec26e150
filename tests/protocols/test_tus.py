"""Resumable uploads as clients see them: every request of the protocol, every header, every error."""

from __future__ import annotations

import base64
import hashlib
import logging
import resource
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import pytest
from served import served
from tus_server import KEY, MAX_BYTES, OTHER_KEY, PART, SITE, UPLOADS, Running, encoded, serving

from app.main import create_app
from app.settings import Settings

EXTENSIONS = {
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "expiration",
    "checksum",
    "termination",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("tus")) as running:
        yield running


@pytest.fixture
def http(server: Running) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def begin(http: httpx.Client, length: int, **headers: str) -> str:
    answer = http.post(UPLOADS, headers={"upload-length": str(length)} | headers)
    assert answer.status_code == 201, answer.text
    return answer.headers["location"]


def patch(http: httpx.Client, location: str, offset: int, data: bytes, **headers: str) -> httpx.Response:
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return http.patch(location, content=data, headers=PART | {"upload-offset": str(offset)} | more)


def offset(http: httpx.Client, location: str) -> int:
    return int(http.head(location).headers["upload-offset"])


def test_the_server_says_what_it_can_do(http: httpx.Client) -> None:
    answer = http.options(UPLOADS, headers={"tus-resumable": "0.2.2"})  # to be told which version it is
    assert answer.status_code == 204
    assert answer.headers["tus-version"] == answer.headers["tus-resumable"] == "1.0.0"
    assert set(answer.headers["tus-extension"].split(",")) == EXTENSIONS
    assert answer.headers["tus-max-size"] == str(MAX_BYTES)
    assert answer.headers["tus-checksum-algorithm"] == "sha1,sha256,md5"


def test_an_upload_from_its_beginning_to_its_removal(http: httpx.Client, server: Running) -> None:
    metadata = encoded(filename="会议 1.wav", filetype="audio/wav") + ",draft"
    made = http.post(UPLOADS, headers={"upload-length": "8", "upload-metadata": metadata})
    assert (made.status_code, made.content) == (201, b"")
    assert made.headers["tus-resumable"] == "1.0.0"
    location = made.headers["location"]
    assert location.startswith(f"{UPLOADS}/upload_")

    first = patch(http, location, 0, b"abc")
    assert (first.status_code, first.headers["upload-offset"], first.content) == (204, "3", b"")
    assert parsedate_to_datetime(first.headers["upload-expires"]) > parsedate_to_datetime(first.headers["date"])
    found = http.head(location)
    assert found.status_code == 200
    assert (found.headers["upload-offset"], found.headers["upload-length"]) == ("3", "8")
    assert found.headers["upload-metadata"] == metadata
    assert found.headers["cache-control"] == "no-store"
    assert patch(http, location, 3, b"defgh").headers["upload-offset"] == "8"
    assert patch(http, location, 8, b"").status_code == 204
    assert server.data(location) == b"abcdefgh"

    shown = http.get(location, headers={"tus-resumable": ""}).json()
    assert shown | {"created_at": 0, "expires_at": 0} == {
        "id": location.rpartition("/")[2],
        "object": "upload",
        "offset": 8,
        "length": 8,
        "finished": True,
        "metadata": {"filename": "会议 1.wav", "filetype": "audio/wav", "draft": ""},
        "created_at": 0,
        "expires_at": 0,
    }
    assert shown["expires_at"] - shown["created_at"] in range(3600, 3700)

    gone = http.delete(location)
    assert (gone.status_code, gone.headers["tus-resumable"]) == (204, "1.0.0")
    assert http.head(location).status_code == 404
    assert http.delete(location).json()["error"]["code"] == "upload_not_found"


def test_the_first_part_may_come_with_the_creation(http: httpx.Client, server: Running) -> None:
    made = http.post(UPLOADS, content=b"abc", headers=PART | {"upload-length": "5"})
    assert (made.status_code, made.headers["upload-offset"]) == (201, "3")
    assert patch(http, made.headers["location"], 3, b"de").headers["upload-offset"] == "5"
    assert server.data(made.headers["location"]) == b"abcde"


def test_of_a_creation_whose_part_is_refused_nothing_stays(http: httpx.Client, server: Running) -> None:
    before = server.files()
    too_long = http.post(UPLOADS, content=b"abc", headers=PART | {"upload-length": "2"})
    assert (too_long.status_code, too_long.json()["error"]["param"]) == (413, "Upload-Length")
    wrong = {"upload-length": "3", "upload-checksum": checksum("sha1", b"abd")}
    assert http.post(UPLOADS, content=b"abc", headers=PART | wrong).status_code == 460
    no_part = http.post(UPLOADS, content=b"abc", headers={"upload-length": "3", "content-type": "audio/wav"})
    assert no_part.status_code == 415
    assert server.files() == before


def test_the_length_may_be_said_later(http: httpx.Client) -> None:
    made = http.post(UPLOADS, headers={"upload-defer-length": "1"})
    location = made.headers["location"]
    found = http.head(location)
    assert found.headers["upload-defer-length"] == "1"
    assert "upload-length" not in found.headers
    assert patch(http, location, 0, b"abc").status_code == 204
    assert http.get(location).json()["length"] is None
    assert patch(http, location, 3, b"de", upload_length="5").status_code == 204
    found = http.head(location)
    assert (found.headers["upload-length"], found.headers["upload-offset"]) == ("5", "5")
    assert "upload-defer-length" not in found.headers
    assert http.get(location).json()["finished"] is True


def checksum(name: str, data: bytes) -> str:
    return f"{name} {base64.b64encode(hashlib.new(name, data).digest()).decode()}"


@pytest.mark.parametrize("name", ["sha1", "sha256", "md5"])
def test_a_part_that_is_not_what_it_is_said_to_be_does_not_count(
    http: httpx.Client, server: Running, name: str
) -> None:
    location = begin(http, 6)
    assert patch(http, location, 0, b"abc", upload_checksum=checksum(name, b"abc")).status_code == 204
    wrong = patch(http, location, 3, b"xyz", upload_checksum=checksum(name, b"def"))
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (460, "checksum_mismatch")
    assert offset(http, location) == 3
    assert patch(http, location, 3, b"def", upload_checksum=checksum(name, b"def")).status_code == 204
    assert server.data(location) == b"abcdef"


@pytest.mark.parametrize("said", ["sha512 AAAA", "sha1", "sha1 ???", "sha1 AAAA", "", "md5 " + "A" * 28])
def test_a_checksum_that_is_none_is_refused(http: httpx.Client, said: str) -> None:
    location = begin(http, 3)
    answer = patch(http, location, 0, b"abc", upload_checksum=said)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "Upload-Checksum")
    assert offset(http, location) == 0


@pytest.mark.parametrize("version", ["", "0.2.2", "1.0"])
@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE"])
def test_another_version_is_refused(http: httpx.Client, method: str, version: str) -> None:
    location = begin(http, 3)
    path = UPLOADS if method == "POST" else location
    headers = PART | {"tus-resumable": version, "upload-length": "3", "upload-offset": "0"}
    answer = http.request(method, path, content=b"abc" if method == "PATCH" else None, headers=headers)
    assert answer.status_code == 412
    assert answer.headers["tus-version"] == "1.0.0"
    assert offset(http, location) == 0


@pytest.mark.parametrize(
    ("headers", "param"),
    [
        ({}, "Upload-Length"),
        ({"upload-length": "3", "upload-concat": "partial"}, "Upload-Concat"),
        ({"upload-length": "-1"}, "Upload-Length"),
        ({"upload-length": "many"}, "Upload-Length"),
        ({"upload-length": "9" * 40}, "Upload-Length"),
        ({"upload-defer-length": "2"}, "Upload-Defer-Length"),
        ({"upload-defer-length": "1", "upload-length": "3"}, "Upload-Defer-Length"),
        ({"upload-length": "3", "upload-metadata": "filename abc"}, "Upload-Metadata"),
        ({"upload-length": "3", "upload-metadata": "a YQ==,a YQ=="}, "Upload-Metadata"),
        ({"upload-length": "3", "upload-metadata": ","}, "Upload-Metadata"),
        ({"upload-length": "3", "upload-metadata": "a " + "A" * 9000}, "Upload-Metadata"),
    ],
)
def test_a_creation_that_makes_no_sense_is_refused(
    http: httpx.Client, server: Running, headers: dict[str, str], param: str
) -> None:
    before = server.files()
    answer = http.post(UPLOADS, headers=headers)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert answer.headers["tus-resumable"] == "1.0.0"
    assert server.files() == before


def test_a_part_that_makes_no_sense_is_refused(http: httpx.Client) -> None:
    location = begin(http, 5)
    assert patch(http, location, 0, b"abc").status_code == 204
    refused = {
        400: {"upload-offset": "here"},
        409: {"upload-offset": "2"},
        415: {"content-type": "audio/wav"},
        413: {"upload-offset": "3"},
    }
    for status, headers in refused.items():
        data = b"too much" if status == 413 else b"de"
        answer = http.patch(location, content=data, headers=PART | {"upload-offset": "3"} | headers)
        assert answer.status_code == status, answer.text
        assert answer.headers["tus-resumable"] == "1.0.0"
        assert offset(http, location) == 3
    told = http.patch(location, content=b"x", headers=PART | {"upload-offset": "1"}).json()["error"]
    assert told["code"] == "upload_conflict"
    assert "3 bytes of this upload have arrived" in told["message"]


def test_a_part_that_is_refused_does_not_say_the_length(http: httpx.Client) -> None:
    location = http.post(UPLOADS, headers={"upload-defer-length": "1"}).headers["location"]
    assert patch(http, location, 0, b"abcde").status_code == 204
    assert patch(http, location, 0, b"fghij", upload_length="5").status_code == 409
    assert patch(http, location, 5, b"fghij", upload_length="7").status_code == 413
    assert http.head(location).headers["upload-defer-length"] == "1"
    assert patch(http, location, 5, b"fghij", upload_length="10").status_code == 204
    assert http.get(location).json()["finished"] is True


def test_no_more_than_the_server_takes(http: httpx.Client) -> None:
    answer = http.post(UPLOADS, headers={"upload-length": str(MAX_BYTES + 1)})
    assert answer.status_code == 413
    assert "MAX_JOB_AUDIO_SIZE" in answer.json()["error"]["message"]
    location = http.post(UPLOADS, headers={"upload-defer-length": "1"}).headers["location"]
    assert patch(http, location, 0, bytes(MAX_BYTES)).status_code == 204  # far more than MAX_AUDIO_SIZE here
    assert patch(http, location, MAX_BYTES, b"x").status_code == 413
    assert patch(http, location, MAX_BYTES, b"", upload_length=str(MAX_BYTES)).status_code == 204


def test_a_part_of_unknown_length_ends_where_the_upload_does(http: httpx.Client) -> None:
    location = begin(http, 5)
    chunks = iter([b"abc", b"de", b"f"])
    answer = http.patch(location, content=chunks, headers=PART | {"upload-offset": "0"})
    assert answer.status_code == 413
    assert offset(http, location) <= 5


def test_keys_are_asked_for_before_a_byte_is_read(http: httpx.Client, server: Running) -> None:
    location = begin(http, 3)
    before = server.files()
    with server.client(None) as nobody, server.client("wrong") as wrong:
        for client in (nobody, wrong):
            answer = patch(client, location, 0, b"abc")
            assert (answer.status_code, answer.headers["tus-resumable"]) == (401, "1.0.0")
            assert client.post(UPLOADS, content=b"abc", headers=PART | {"upload-length": "3"}).status_code == 401
            assert client.head(location).status_code == 401
            assert client.delete(location).status_code == 401
    assert server.files() == before
    assert offset(http, location) == 0


def test_the_whole_application_says_the_version_where_no_route_has_seen_the_request() -> None:
    with served(create_app(Settings(_env_file=None, api_keys=KEY))) as port:
        for path, marked in ((UPLOADS, True), (f"{UPLOADS}/x", True), ("/v1/jobs", False)):
            answer = httpx.post(f"http://127.0.0.1:{port}{path}")
            assert (answer.status_code, "tus-resumable" in answer.headers) == (401, marked)


def test_what_belongs_to_another_key_does_not_exist(http: httpx.Client, server: Running) -> None:
    location = begin(http, 3)
    with server.client(OTHER_KEY) as other:
        for answer in (
            other.head(location),
            other.get(location),
            patch(other, location, 0, b"abc"),
            other.delete(location),
            other.post(location, headers={"x-http-method-override": "DELETE"}),
        ):
            assert answer.status_code == 404
    assert offset(http, location) == 0


@pytest.mark.parametrize("name", ["x", "upload_0123456789abcdef01234567", "..%2f..%2fetc%2fpasswd", "%00"])
def test_what_was_never_begun_is_not_found(http: httpx.Client, name: str) -> None:
    assert http.get(f"{UPLOADS}/{name}").status_code == 404
    assert patch(http, f"{UPLOADS}/{name}", 0, b"abc").status_code == 404


def test_methods_may_be_said_in_a_header(http: httpx.Client, server: Running) -> None:
    location = begin(http, 3)
    headers = PART | {"upload-offset": "0", "x-http-method-override": "PATCH"}
    assert http.post(location, content=b"abc", headers=headers).status_code == 204
    assert http.post(location, headers={"x-http-method-override": "HEAD"}).headers["upload-offset"] == "3"
    assert server.data(location) == b"abc"
    assert http.post(location).status_code == 405
    assert http.post(location, headers={"x-http-method-override": "DELETE"}).status_code == 204
    assert http.head(location).status_code == 404


def test_other_sites_pages_may_upload_where_they_may_at_all(http: httpx.Client) -> None:
    asked = {
        "origin": SITE,
        "access-control-request-method": "PATCH",
        "access-control-request-headers": "authorization,content-type,tus-resumable,upload-checksum,upload-offset",
    }
    allowed = http.options(f"{UPLOADS}/x", headers=asked)
    assert allowed.status_code == 200
    assert "PATCH" in allowed.headers["access-control-allow-methods"]
    told = http.post(UPLOADS, headers={"upload-length": "3", "origin": SITE})
    exposed = set(told.headers["access-control-expose-headers"].split(", "))
    assert {"location", "upload-offset", "upload-length", "upload-expires", "tus-resumable"} <= exposed
    assert {"tus-version", "tus-extension", "tus-max-size", "upload-metadata", "upload-defer-length"} <= exposed


def test_other_paths_keep_their_own_bound(http: httpx.Client) -> None:
    answer = http.post("/v1/other", content=bytes(MAX_BYTES))
    assert answer.status_code == 413
    assert "MAX_AUDIO_SIZE)" in answer.json()["error"]["message"]
    beyond = http.post("/v1/jobs/uploads", content=bytes(MAX_BYTES + 2 * 1024 * 1024), headers={"upload-length": "1"})
    assert (beyond.status_code, beyond.headers["tus-resumable"]) == (413, "1.0.0")
    assert "MAX_JOB_AUDIO_SIZE)" in beyond.json()["error"]["message"]
    assert http.post("/v1/jobsX", content=bytes(MAX_BYTES)).status_code == 413


def test_one_more_than_there_may_be(tmp_path: Path) -> None:
    with serving(tmp_path, max_open=2) as server, server.client() as http, server.client(OTHER_KEY) as other:
        location = begin(http, 1)
        begin(http, 1)
        refused = http.post(UPLOADS, headers={"upload-length": "1"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_uploads")
        assert int(refused.headers["retry-after"]) > 0
        begin(other, 1)
        http.delete(location)
        begin(http, 1)


def test_where_no_keys_are_set_everybody_may(tmp_path: Path) -> None:
    with serving(tmp_path, keys=()) as server, server.client(None) as http:
        assert patch(http, begin(http, 3), 0, b"abc").status_code == 204


def test_a_full_disk_is_told_and_what_arrived_stays(http: httpx.Client, server: Running) -> None:
    location = begin(http, 8000)
    data = bytes(range(250)) * 32
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        answer = patch(http, location, 0, data)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (answer.status_code, answer.json()["error"]["code"]) == (507, "storage_full")
    assert answer.headers["retry-after"]
    assert offset(http, location) == 5000
    assert patch(http, location, 5000, data[5000:]).status_code == 204
    assert server.data(location) == data


def test_what_files_are_called_stays_out_of_the_log(http: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    metadata = encoded(filename="secret-name.wav")
    location = begin(http, 3, **{"upload-metadata": metadata})
    patch(http, location, 1, b"secret-bytes")
    http.post(UPLOADS, headers={"upload-length": "3", "upload-metadata": f"{metadata},{metadata}"})
    http.get(location)
    told = "\n".join(
        record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))
    )
    assert "upload_conflict" in told  # something was
    for secret in ("secret", metadata.partition(" ")[2], KEY):
        assert secret not in told


def test_the_documentation_has_it(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()["paths"]
    assert set(document[UPLOADS]) == {"options", "post"}
    assert set(document[f"{UPLOADS}/{{id}}"]) == {"head", "get", "patch", "delete"}
    names = {parameter["name"] for parameter in document[f"{UPLOADS}/{{id}}"]["patch"]["parameters"]}
    assert {"Tus-Resumable", "Upload-Offset", "Upload-Length", "Upload-Checksum", "id"} <= names
