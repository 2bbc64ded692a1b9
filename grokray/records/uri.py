"""URIs of folders: what they may say, and how they are shown."""

from __future__ import annotations

import os
import re
from urllib.parse import parse_qsl, unquote, urlsplit

from grokray.errors import FolderError

OBJECT_STORES = ("s3", "gs", "gcs", "abfs", "abfss")
CREDENTIALS_HINT = (
    "give the bare URI, and the credentials in the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), in "
    "~/.aws, or through the machine's own role"
)
_SECRET_WORDS = re.compile(r"secret|token|password|passwd|signature|key|credential|^sig$", re.IGNORECASE)
_AZURE = ("abfs", "abfss")


def checked_uri(uri: str) -> str:
    """A URI of an object store, itself. FolderError if its scheme is unknown, it names no bucket, or holds credentials.

    >>> checked_uri("s3://bucket/sweeps/robust?region=eu-west-1")
    's3://bucket/sweeps/robust?region=eu-west-1'
    """
    scheme = uri.partition("://")[0]
    if scheme not in OBJECT_STORES:
        known = ", ".join(("file", *OBJECT_STORES))
        raise FolderError(f"the scheme of {hide_secrets(uri)} is {scheme!r}, but must be one of {known}, or a path")
    if holds_credentials(uri):
        text = f"the URI of {hide_secrets(uri)} holds credentials, which would end up in logs and lists of processes"
        raise FolderError(text, hint=CREDENTIALS_HINT)
    if not urlsplit(uri).netloc:
        raise FolderError(f"{hide_secrets(uri)} names no bucket, but must look like {scheme}://bucket/folder")
    return uri


def path_of_file_uri(uri: str) -> str:
    """`file:///a%20b` → `/a b`. FolderError if it names a host."""
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise FolderError(f"{uri} names a host, but a file URI must look like file:///folder")
    return os.path.abspath(unquote(parts.path))


def split_last(uri: str) -> tuple[str, str]:
    """`s3://bucket/a/b?region=x` → (`s3://bucket/a?region=x`, `b`); a path likewise, but has no query."""
    before, mark, query = uri.partition("?") if "://" in uri else (uri, "", "")
    folder, _, name = before.rstrip("/").rpartition("/")
    return folder + mark + query, name


def join(uri: str, name: str) -> str:
    """What `split_last` takes apart: (`s3://bucket/a?region=x`, `b`) → `s3://bucket/a/b?region=x`."""
    before, mark, query = uri.partition("?") if "://" in uri else (uri, "", "")
    return f"{before.rstrip('/')}/{name}{mark}{query}" if before else name


def hide_secrets(uri: str) -> str:
    """`s3://key:secret@bucket/x?region=eu` → `s3://bucket/x`: safe to print and to log."""
    if "://" not in uri:
        return uri
    # A secret with an unescaped slash is no valid URI, but stands in the message that says so.
    return re.sub(r"(\w+://)(?:[^/@\s]*(?::[^@\s]*)?@)?([^?\s]*)(?:\?\S*)?", r"\1\2", uri)


def holds_credentials(uri: str) -> bool:
    """Whether it carries a password or a key, as `s3://key:secret@bucket` does."""
    scheme, _, rest = uri.partition("://")
    host = re.split(r"[/?]", rest, maxsplit=1)[0]
    user = host.rpartition("@")[0]
    if any(_SECRET_WORDS.search(name) for name, _ in parse_qsl(rest.partition("?")[2])):
        return True
    if scheme in _AZURE:  # container@account is no credential there
        return ":" in user
    # A secret with an unescaped slash ends what looks like the host; no bucket's name has a colon.
    return ":" in host or (bool(user) and user != "anonymous")
