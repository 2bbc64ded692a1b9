"""S3 and stores that speak its language: one description of the place for pyarrow and for boto3.

pyarrow does everything but conditional puts, which need boto3; without it, and on a store that does not honour them,
`ConditionalPuts.of` gives None or less. Own endpoints: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, or `?endpoint_override=`.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache, cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from grokray.errors import FolderError
from grokray.records.store import Tagged
from grokray.records.uri import hide_secrets

if TYPE_CHECKING:
    from pyarrow.fs import S3FileSystem

OPTIONS = ("region", "endpoint_override", "scheme", "force_virtual_addressing")
# Of one attempt: how long it may take to connect, and how long nothing may come or go.
TIMEOUTS_S, IMPATIENT_TIMEOUTS_S = (5.0, 10.0), (3.0, 4.0)
_CONFLICT, _MISSING = 412, 404


@dataclass(frozen=True, kw_only=True)
class Place:
    """`endpoint` is `host:port`, or None for Amazon's own; `region` None for wherever the bucket is."""

    bucket: str
    key: str
    region: str | None
    endpoint: str | None
    scheme: str
    virtual: bool

    @classmethod
    def of(cls, uri: str) -> Place:
        """Of `s3://bucket/key?region=eu-west-1`. FolderError names an option that is none."""
        parts = urlsplit(uri, allow_fragments=False)
        options = dict(parse_qsl(parts.query))
        if unknown := sorted(options.keys() - set(OPTIONS)):
            text = f"the URI of {hide_secrets(uri)} has an option {unknown[0]!r}"
            raise FolderError(f"{text}, but must have no others than {', '.join(OPTIONS)}")
        own = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
        scheme, _, endpoint = (options.get("endpoint_override") or own).rstrip("/").rpartition("://")
        region = options.get("region") or (_own_region() if endpoint else None)
        return cls(
            bucket=parts.netloc,
            key=parts.path.strip("/"),
            region=region,
            endpoint=endpoint or None,
            scheme=options.get("scheme") or scheme or "https",
            virtual=options.get("force_virtual_addressing", "").lower() in ("1", "true"),
        )

    def connect(self, *, impatient: bool, delayed: bool) -> S3FileSystem:
        """One attempt for each request, since the store itself tries again. `delayed` puts small files with one
        request; a large one whose writing fails may become an empty file then, so it is for small ones only."""
        from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

        if self.endpoint is not None:
            _plain_checksums()
        connect_s, request_s = IMPATIENT_TIMEOUTS_S if impatient else TIMEOUTS_S
        return S3FileSystem(
            region=self._region(),
            endpoint_override=self.endpoint,
            scheme=self.scheme,
            force_virtual_addressing=self.virtual,
            connect_timeout=connect_s,
            request_timeout=request_s,
            allow_delayed_open=delayed,
            retry_strategy=AwsStandardS3RetryStrategy(max_attempts=1),
        )

    def client(self, *, impatient: bool) -> Any:
        """boto3's, with the same address, region and patience."""
        from boto3.session import Session
        from botocore.config import Config

        connect_s, request_s = IMPATIENT_TIMEOUTS_S if impatient else TIMEOUTS_S
        addressing = {"addressing_style": "path"} if self.endpoint and not self.virtual else {}
        config = Config(
            connect_timeout=connect_s,
            read_timeout=request_s,
            retries={"total_max_attempts": 1},
            s3=addressing,
            **({"request_checksum_calculation": "when_required"} if self.endpoint else {}),
        )
        endpoint = f"{self.scheme}://{self.endpoint}" if self.endpoint else None
        return Session().client("s3", region_name=self._region(), endpoint_url=endpoint, config=config)

    def _region(self) -> str:
        return self.region or _region_of(self.bucket)


class ConditionalPuts:
    """Puts that the store makes only if an object is not there, or still is the version that it was."""

    def __init__(self, place: Place, *, impatient: bool) -> None:
        self._place, self._impatient = place, impatient

    @staticmethod
    def of(place: Place, *, impatient: bool) -> ConditionalPuts | None:
        return ConditionalPuts(place, impatient=impatient) if find_spec("boto3") else None

    def create(self, key: str, data: bytes) -> bool | None:
        """Whether it was put; None if this store would have put it anyhow, and nothing was done."""
        if not self._honoured[0]:
            return None
        # Where an answer was lost, the object may be ours already.
        return self._put(key, data, IfNoneMatch="*") or self._holds(key, data)

    def replace(self, key: str, data: bytes, tag: str) -> bool | None:
        """As `create`; `tag` is the one that `read` gave."""
        shape = self._honoured[1]
        if shape is None:
            return None
        return self._put(key, data, IfMatch=shape.format(tag)) or self._holds(key, data)

    def read(self, key: str) -> Tagged | None:
        with _as_os_errors() as status:
            answer = self._client.get_object(Bucket=self._place.bucket, Key=key)
            data = answer["Body"].read()
        if status.code == _MISSING:
            return None
        now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        age_s = max((now - answer["LastModified"]).total_seconds(), 0.0)
        return Tagged(data=data, tag=answer["ETag"].strip('"'), age_s=age_s)

    def look(self, key: str) -> None:
        """OSError says why an object cannot be read."""
        with _as_os_errors():
            self._client.get_object(Bucket=self._place.bucket, Key=key, Range="bytes=0-0")["Body"].close()

    def _holds(self, key: str, data: bytes) -> bool:
        found = self.read(key)
        return found is not None and found.data == data

    def _put(self, key: str, data: bytes, **condition: str) -> bool:
        with _as_os_errors() as status:
            self._client.put_object(Bucket=self._place.bucket, Key=key, Body=data, **condition)
        return status.code is None

    @cached_property
    def _client(self) -> Any:
        with _as_os_errors():
            return self._place.client(impatient=self._impatient)

    @cached_property
    def _honoured(self) -> tuple[bool, str | None]:
        """Whether If-None-Match is, and in what shape a tag if If-Match is: some stores compare it without quotes."""
        key = f"{self._place.key}/.grokray-probe-{secrets.token_hex(4)}".lstrip("/")
        try:
            self._put(key, b"1")
            tag = getattr(self.read(key), "tag", "")
            create = not self._put(key, b"2", IfNoneMatch="*")
            refuses = not self._put(key, b"3", IfMatch='"d41d8cd98f00b204e9800998ecf8427e"')
            shapes = [shape for shape in ('"{}"', "{}") if refuses and self._put(key, b"1", IfMatch=shape.format(tag))]
            return create, shapes[0] if shapes else None
        finally:
            with suppress(OSError), _as_os_errors():
                self._client.delete_object(Bucket=self._place.bucket, Key=key)


@dataclass
class _Status:
    code: int | None = None  # 404 or 412, which are answers rather than errors


@contextmanager
def _as_os_errors() -> Iterator[_Status]:
    """botocore's errors as pyarrow's are: OSErrors whose text says what happened."""
    from botocore.exceptions import BotoCoreError, ClientError

    status = _Status()
    try:
        yield status
    except ClientError as error:
        answer = error.response
        code, number = answer["Error"].get("Code"), answer["ResponseMetadata"]["HTTPStatusCode"]
        if number == _CONFLICT or (number == _MISSING and code != "NoSuchBucket"):
            status.code = number
            return
        raise OSError(f"{code} (HTTP status {number}): {answer['Error'].get('Message')}") from error
    except BotoCoreError as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


@cache
def _region_of(bucket: str) -> str:
    from pyarrow.fs import resolve_s3_region

    return resolve_s3_region(bucket)


def _own_region() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def _plain_checksums() -> None:
    """Stores other than Amazon's often know no checksums that follow the data, and refuse such puts."""
    for name in ("AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION"):
        os.environ.setdefault(name, "when_required")
