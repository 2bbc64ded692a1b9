"""Trying again where a store fails in passing: an outage of minutes stalls a sweep, and loses nothing."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from grokray.errors import ConfigError, Problem
from grokray.records.trouble import in_plain_words, is_outdated, is_passing

PATIENCE_S = 300.0
# While a folder is opened: whoever mistyped an address should not have to wait for minutes.
IMPATIENCE_S = 10.0
FIRST_DELAY_S, LONGEST_DELAY_S = 0.5, 5.0
VARIABLE = "GROKRAY_STORE_PATIENCE"

log = logging.getLogger(__name__)
Result = TypeVar("Result")


def patience_s() -> float:
    """Seconds from $GROKRAY_STORE_PATIENCE, or 300. ConfigError if it is no such number."""
    text = os.environ.get(VARIABLE, "").strip()
    try:
        seconds = float(text or PATIENCE_S)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ConfigError([Problem(message=f"{VARIABLE} is {text!r}, but must be a number of seconds, at least 0")])
    return seconds


class Patience:
    """One store's. Threads may share it; an outage is said once, whoever meets it."""

    def __init__(self) -> None:
        self.limit_s = patience_s()
        self.impatient = False
        self._outage = False

    @contextmanager
    def short(self) -> Iterator[None]:
        """While this holds, ten seconds are enough."""
        was, self.impatient = self.impatient, True
        try:
            yield
        finally:
            self.impatient = was

    def keep_trying(self, call: Callable[[], Result], shown: str) -> Result:
        """What `call` returns. Raises what it raises, errors that pass only once they have lasted too long."""
        limit = min(self.limit_s, IMPATIENCE_S) if self.impatient else self.limit_s
        deadline, delay = time.monotonic() + limit, FIRST_DELAY_S
        while True:
            try:
                result = call()
            except Exception as error:
                # Where a folder is opened, credentials that are no good are said at once.
                passing = is_passing(error) or (is_outdated(error) and not self.impatient)
                if not passing or time.monotonic() + delay > deadline:
                    raise
                self._say(shown, error, limit)
            else:
                self._outage = False
                return result
            time.sleep(delay)
            delay = min(2 * delay, LONGEST_DELAY_S)

    def _say(self, shown: str, error: Exception, limit: float) -> None:
        if not (self._outage or self.impatient):
            self._outage = True
            log.warning("%s: %s; trying again for up to %.0f s", shown, in_plain_words(str(error))[0], limit)
