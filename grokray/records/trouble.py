"""What the errors of object stores mean: whether they pass by themselves, and what to tell a person.

pyarrow and its SDKs say it in words only, such as "AWS Error SLOW_DOWN during PutObject operation: …".
"""

from __future__ import annotations

import re

from grokray.errors import FolderError

_CERTIFICATE = r"curlCode: (?:1|3|51|53|54|58|59|60|66|77|83)\b"
_FULL = r"QuotaExceeded|StorageFull|InsufficientStorage|HTTP status 507|No space left|Disk quota exceeded"

_LASTING = re.compile(f"{_CERTIFICATE}|{_FULL}|HTTP status 50[15]")
_PASSING = re.compile(
    r"NETWORK_CONNECTION|SLOW_DOWN|SlowDown|INTERNAL_FAILURE|InternalError|SERVICE_UNAVAILABLE|ServiceUnavailable"
    r"|REQUEST_TIMEOUT|RequestTimeout|THROTTL|Throttl|RequestLimitExceeded|TooManyRequests|OperationAborted"
    r"|ConditionalRequestConflict|curlCode: \d+|HTTP status (?:408|429|5\d\d)"
    r"|Status\((?:UNAVAILABLE|DEADLINE_EXCEEDED|RESOURCE_EXHAUSTED|INTERNAL)\b"
    r"|[Tt]imed out|[Tt]imeout|Connection (?:was closed|reset|refused|aborted)|Could not connect|Failed to connect"
)
_EXPIRED = "EXPIRED_TOKEN|ExpiredToken|TokenRefreshRequired"
_UNKNOWN_KEY = "INVALID_ACCESS_KEY_ID|InvalidAccessKeyId"
_WRONG_TOKEN = "InvalidToken"
# Of credentials that may have been replaced since they were read.
_OUTDATED = re.compile(f"{_EXPIRED}|{_UNKNOWN_KEY}|{_WRONG_TOKEN}")

_KEYS = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile in ~/.aws"
_ADDRESS = "check the network, and the address in AWS_ENDPOINT_URL or in the URI's endpoint_override"
# The first that fits is said; a text may hold several, as an SDK's summary does.
_MEANINGS = tuple(
    (re.compile(pattern), reason, hint)
    for pattern, reason, hint in (
        (r"SIGNATURE_DOES_NOT_MATCH|SignatureDoesNotMatch", "the secret key is wrong", _KEYS),
        (_UNKNOWN_KEY, "the store does not know the access key", _KEYS),
        (
            _EXPIRED,
            "the credentials have expired",
            "renew them: ~/.aws is read again, the environment of a program that runs is not",
        ),
        (_WRONG_TOKEN, "the session token is wrong", _KEYS),
        (r"NoCredentials|Unable to locate credentials", "no credentials were found", _KEYS),
        (r"TOO_SKEWED|RequestTimeTooSkewed", "the clock of this machine is wrong", "set it"),
        (_FULL, "it is full", "free some space there, or have the quota raised"),
        (
            r"NO_SUCH_BUCKET|NoSuchBucket|ContainerNotFound|The specified bucket does not exist",
            "the bucket does not exist",
            "make it, or correct its name; region and endpoint must be those of the bucket",
        ),
        (
            r"PermanentRedirect|HTTP status 301|AuthorizationHeaderMalformed|IllegalLocationConstraint",
            "the bucket is in another region",
            "add ?region=NAME to the URI, or set AWS_DEFAULT_REGION",
        ),
        (
            r"RESOURCE_NOT_FOUND during (?:Put|List|Create)",  # a store would name what it does not find
            "what answers at its address is no such store",
            _ADDRESS,
        ),
        (
            r"INVALID_OBJECT_STATE|InvalidObjectState",
            "the store has moved it to an archive",
            "restore it there; a rule of the bucket's may do so again",
        ),
        (r"[Rr]ead-only|METHOD_NOT_ALLOWED|MethodNotAllowed", "it is read-only", "choose another folder"),
        (
            r"ACCESS_DENIED|AccessDenied|HTTP status 403|Forbidden|PERMISSION_DENIED",
            "access is denied",
            "the credentials, if any were found, need the rights to list, read, write and delete there",
        ),
        (_CERTIFICATE, "its certificate cannot be verified", "check the address, and AWS_CA_BUNDLE"),
        (r"curlCode: 6\b|Could not resolve|NameResolution|Name or service", "its host is unknown", _ADDRESS),
        (r"curlCode: 7\b|Connection refused|Could not connect to", "nothing answers at its address", _ADDRESS),
        (r"curlCode: 28\b|[Tt]imed out|[Tt]imeout", "it does not answer", _ADDRESS),
        (r"SLOW_DOWN|SlowDown|THROTTL|Throttl|TooMany|HTTP status 429", "it asks for fewer requests", None),
        (r"NETWORK_CONNECTION|curlCode: \d+|Connection (?:reset|was closed|aborted)", "the connection broke", _ADDRESS),
        (
            r"INTERNAL_FAILURE|InternalError|SERVICE_UNAVAILABLE|ServiceUnavailable|HTTP status 5\d\d",
            "the store itself fails",
            None,
        ),
    )
)


def is_passing(error: BaseException) -> bool:
    """Whether the same request may well succeed in a minute: the network or the store failed, not the request.

    >>> is_passing(OSError("AWS Error NETWORK_CONNECTION during PutObject operation: curlCode: 28, …"))
    True
    >>> is_passing(OSError("AWS Error ACCESS_DENIED during PutObject operation"))
    False
    """
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    text = str(error)
    return bool(_PASSING.search(text)) and not _LASTING.search(text)


def is_outdated(error: BaseException) -> bool:
    """Whether the store refuses credentials that whoever looks for them anew may find replaced."""
    return bool(_OUTDATED.search(str(error)))


def in_plain_words(text: str) -> tuple[str, str | None]:
    """The reason for a person, and a hint; an unknown error's own first line."""
    for pattern, reason, hint in _MEANINGS:
        if pattern.search(text):
            return reason, hint
    return text.partition("\n")[0], None


def refusal(action: str, shown: str, text: str) -> FolderError:
    """`cannot write s3://bucket/x: the secret key is wrong`, with its hint."""
    reason, hint = in_plain_words(text)
    return FolderError(f"cannot {action} {shown}: {reason}", hint=hint)
