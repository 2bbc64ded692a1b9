"""What pyarrow and botocore say, as they were seen to say it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from records_helpers import Flaky, memory_store

from grokray.errors import ConfigError, FolderError
from grokray.records import patience
from grokray.records.s3 import Place
from grokray.records.store import Store, Tagged
from grokray.records.store_remote import Connection
from grokray.records.trouble import in_plain_words, is_passing

PUT = "When uploading object with key 'd/x' in bucket 'sweeps': AWS Error"
PASSING = {
    f"{PUT} NETWORK_CONNECTION during PutObject operation: curlCode: 28, Timeout was reached": "it does not answer",
    f"{PUT} NETWORK_CONNECTION during PutObject operation: curlCode: 7, Could not connect": "nothing answers",
    f"{PUT} NETWORK_CONNECTION during PutObject operation: curlCode: 6, Could not resolve": "its host is unknown",
    f"{PUT} NETWORK_CONNECTION during PutObject operation: curlCode: 56, Failure": "the connection broke",
    f"{PUT} SLOW_DOWN during PutObject operation: Please reduce your request rate.": "it asks for fewer requests",
    f"{PUT} UNKNOWN (HTTP status 503) during PutObject operation: No response body.": "the store itself fails",
    f"{PUT} INTERNAL_FAILURE during PutObject operation: We encountered an internal error.": "the store itself fails",
    'EndpointConnectionError: Could not connect to the endpoint URL: "http://host/"': "nothing answers at its address",
    'ReadTimeoutError: Read timeout on endpoint URL: "None"': "it does not answer",
    "ConditionalRequestConflict (HTTP status 409): a conflicting operation": "",
    "google::cloud::Status(UNAVAILABLE: Retry policy exhausted in GetObjectMetadata)": "",
}
LASTING = {
    f"{PUT} SIGNATURE_DOES_NOT_MATCH during PutObject operation:  (Request ID: tx0)": "the secret key is wrong",
    f"{PUT} INVALID_ACCESS_KEY_ID during PutObject operation:  (Request ID: tx0)": "does not know the access key",
    f"{PUT} NO_SUCH_BUCKET during PutObject operation:  (Request ID: tx0)": "the bucket does not exist",
    f"{PUT} ACCESS_DENIED during PutObject operation:  (Request ID: tx0)": "access is denied",
    f"{PUT} UNKNOWN (HTTP status 403) during PutObject operation: ExceptionName: QuotaExceeded": "it is full",
    f"{PUT} UNKNOWN (HTTP status 507) during PutObject operation: XMinioStorageFull": "it is full",
    f"{PUT} NETWORK_CONNECTION during PutObject operation: curlCode: 60, peer certificate": "certificate",
    f"{PUT} UNKNOWN (HTTP status 301) during PutObject operation: PermanentRedirect": "in another region",
    f"{PUT} UNKNOWN (HTTP status 400) during PutObject operation: ExceptionName: InvalidToken": "token is wrong",
    f"{PUT} UNKNOWN (HTTP status 400) during PutObject operation: ExceptionName: ExpiredToken": "have expired",
    f"{PUT} RESOURCE_NOT_FOUND during PutObject operation: ": "what answers at its address is no such store",
    "InvalidObjectState (HTTP status 403): The action is not valid for the object's storage class": "to an archive",
    "NoCredentialsError: Unable to locate credentials": "no credentials were found",
    "a thing nobody has seen\nwith a second line": "a thing nobody has seen",
}


@pytest.mark.parametrize("text", PASSING)
def test_what_passes_is_tried_again(text):
    assert is_passing(OSError(text))
    assert PASSING[text] in in_plain_words(text)[0]


@pytest.mark.parametrize("text", LASTING)
def test_what_lasts_is_said_at_once(text):
    assert not is_passing(OSError(text))
    assert LASTING[text] in in_plain_words(text)[0]
    assert "\n" not in in_plain_words(text)[0]


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(patience, "FIRST_DELAY_S", 0.01)


def test_an_outage_is_waited_for_and_said_once(quick, caplog):
    handler = Flaky()
    store = memory_store("s3://bucket/outage", handler)
    handler.errors = [OSError(next(iter(PASSING)))] * 4
    store.write_atomic("a", b"1")
    assert store.read_bytes("a") == b"1"
    assert handler.errors == []
    (said,) = caplog.messages
    assert said == "s3://bucket/outage: it does not answer; trying again for up to 2 s"
    handler.errors = [OSError(next(iter(PASSING)))] * 2
    store.write_atomic("a", b"2")
    assert caplog.messages == [said, said], "another one is said again"


def test_an_outage_that_lasts_is_an_error(quick, monkeypatch):
    monkeypatch.setenv(patience.VARIABLE, "0.3")
    handler = Flaky()
    store = memory_store("s3://bucket/gone", handler)
    handler.errors = [OSError(next(iter(PASSING)))] * 1000
    with pytest.raises(FolderError, match=r"cannot write s3://bucket/gone/a: it does not answer$"):
        store.write_atomic("a", b"1")
    assert 2 < handler.requests < 100


def test_a_refusal_is_not_tried_again():
    handler = Flaky()
    store = memory_store("s3://bucket/refused", handler)
    handler.errors = [OSError(text) for text in LASTING]
    with pytest.raises(FolderError, match=r"cannot write s3://bucket/refused: the secret key is wrong") as caught:
        store.check()
    assert caught.value.hint
    assert handler.requests == 1


EXPIRED = OSError(f"{PUT} UNKNOWN (HTTP status 400) during PutObject operation: ExceptionName: ExpiredToken")
UNSAID = OSError(f"{PUT} UNKNOWN (HTTP status 400) during HeadObject operation: No response body.")


def renewed(monkeypatch, store) -> list[bool]:
    """Whoever connects anew finds a store that takes its credentials; each that does is noted."""
    sound, opened = memory_store(store.uri)._connections[False], []

    def connect(uri, *, impatient):
        opened.append(impatient)
        return sound

    monkeypatch.setattr(Connection, "open", connect)
    return opened


def test_credentials_that_expire_are_looked_for_anew(quick, monkeypatch, caplog):
    handler = Flaky()
    store = memory_store("s3://bucket/expired", handler)
    handler.errors = [EXPIRED] * 1000
    opened = renewed(monkeypatch, store)
    store.write_atomic("a", b"1")
    assert store.read_bytes("a") == b"1"
    assert (opened, handler.requests) == ([False], 1)
    assert caplog.messages == ["s3://bucket/expired: the credentials have expired; trying again for up to 2 s"]


class Puts:
    """Conditional puts of somebody whose credentials are good, or have expired."""

    def __init__(self, *, good: bool) -> None:
        self.good = good

    def read(self, key):
        if not self.good:
            raise EXPIRED
        return Tagged(data=b"1", tag=key)

    def create(self, key, data):
        return self.read(key) is not None


@pytest.mark.parametrize("act", [lambda store: store.read_tagged("a"), lambda store: store.create("a", b"1")])
def test_conditional_puts_are_made_anew_too(act, quick, monkeypatch):
    store = memory_store("s3://bucket/puts")
    old, new = (replace(store._connections[False], puts=Puts(good=good)) for good in (False, True))
    store._connections = {False: old}
    monkeypatch.setattr(Connection, "open", lambda uri, *, impatient: new)
    assert act(store)


def test_credentials_that_have_expired_are_said_at_once_where_a_folder_is_opened(monkeypatch):
    handler = Flaky()
    store = memory_store("s3://bucket/opened", handler)
    handler.errors = [EXPIRED] * 1000
    renewed(monkeypatch, store)
    with store.impatient(), pytest.raises(FolderError, match="opened/a: the credentials have expired") as caught:
        store.write_atomic("a", b"1")
    assert "renew them" in (caught.value.hint or "")
    assert handler.requests == 1


def test_what_an_answer_without_a_body_leaves_unsaid_is_asked():
    handler = Flaky()
    store = memory_store("s3://bucket/unsaid", handler)
    handler.errors = [UNSAID, OSError(f"{PUT} ACCESS_DENIED during ListObjectsV2 operation")]
    with pytest.raises(FolderError, match=r"cannot read s3://bucket/unsaid/a: access is denied$"):
        store.exists("a")


class Refusing(BaseHTTPRequestHandler):
    """An S3 that tells the size of every object, and gives none."""

    code = ""

    def do_HEAD(self) -> None:
        self._answer(200, 20)

    def do_GET(self) -> None:
        body = f"<Error><Code>{self.code}</Code><Message>No</Message><RequestId>0</RequestId></Error>".encode()
        self._answer(403, len(body))
        self.wfile.write(body)

    def _answer(self, status: int, size: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def refusing(monkeypatch) -> Iterator[str]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"s3://bucket/x?endpoint_override=127.0.0.1:{server.server_port}&scheme=http"
        server.shutdown()


def test_why_a_small_object_is_refused_is_asked_where_pyarrow_has_no_room_for_the_reason(
    refusing, monkeypatch, quick, caplog
):
    store = Store.from_uri(refusing)
    for code, reason in (("AccessDenied", "access is denied"), ("InvalidObjectState", "the store has moved it")):
        monkeypatch.setattr(Refusing, "code", code)
        for read in (lambda: store.read_bytes("a"), lambda: store.read_range("a", 3, 5)):
            with pytest.raises(FolderError, match=f"cannot read s3://bucket/x/a: {reason}"):
                read()
    assert caplog.messages == []  # nothing was tried again


@pytest.mark.parametrize(
    ("given", "impatient", "delays"),
    [
        (None, False, [0.5, 1, 2, 4, *[5] * 58]),  # 297.5 of 300 seconds
        (" ", False, [0.5, 1, 2, 4, *[5] * 58]),
        ("4", False, [0.5, 1, 2]),
        ("0", False, []),
        (None, True, [0.5, 1, 2, 4]),  # 7.5 of 10 seconds
        ("3", True, [0.5, 1]),
    ],
)
def test_an_outage_is_waited_for_as_long_as_is_said(monkeypatch, caplog, given, impatient, delays):
    def fail():
        raise OSError(next(iter(PASSING)))

    monkeypatch.delenv(patience.VARIABLE)
    if given is not None:
        monkeypatch.setenv(patience.VARIABLE, given)
    waited: list[float] = []
    monkeypatch.setattr(patience, "time", SimpleNamespace(monotonic=lambda: sum(waited), sleep=waited.append))
    own = patience.Patience()
    with own.short() if impatient else nullcontext(), pytest.raises(OSError, match="AWS"):
        own.keep_trying(fail, "s3://bucket/x")
    assert waited == delays
    assert len(caplog.messages) == (bool(delays) and not impatient)


def test_a_folder_that_has_been_opened_is_waited_for_again():
    own = patience.Patience()
    with suppress(FolderError), own.short():
        with own.short():
            assert own.impatient
        assert own.impatient
        raise FolderError("there is none")
    assert not own.impatient


@pytest.mark.parametrize("value", ["soon", "-1", "inf", "nan"])
def test_patience_is_a_number_of_seconds(monkeypatch, value):
    monkeypatch.setenv(patience.VARIABLE, value)
    with pytest.raises(ConfigError, match=f"GROKRAY_STORE_PATIENCE is '{value}', but must be a number of seconds"):
        Store.from_uri("s3://bucket/x")


def test_a_place_is_read_off_uri_and_environment(monkeypatch):
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    place = Place.of("s3://bucket/a/b?region=eu-west-1")
    assert (place.bucket, place.key, place.region, place.endpoint) == ("bucket", "a/b", "eu-west-1", None)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://host:9000/")
    place = Place.of("s3://bucket/a")
    assert (place.endpoint, place.scheme, place.region) == ("host:9000", "http", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://other")
    assert Place.of("s3://bucket/a").endpoint == "other"
    place = Place.of("s3://bucket/a?endpoint_override=third:1&scheme=http")
    assert (place.endpoint, place.scheme) == ("third:1", "http")
    with pytest.raises(FolderError, match="has an option 'regoin', but must have no others than region"):
        Place.of("s3://bucket/a?regoin=x")
