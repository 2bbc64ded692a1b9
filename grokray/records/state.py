"""What the journal says, folded into one state. The order in which parts are read makes no difference.

Several processes write at once, so a measurement may be read before the trial it belongs to. Every rule below is
therefore a maximum, a minimum, a sum or a set, never "the last one read".
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable
from operator import attrgetter

from grokray.records.compact import NOTHING, Compactor
from grokray.records.fingerprints import seeds_of
from grokray.records.journal import EVENT_FIELDS, Event
from grokray.records.trial_state import Checkpoint, Configuration, Decision, Fault, Session, TrialState

_ERROR_CHARACTERS = 2_000


class SweepState:
    """Folds events; hold one and `apply_all` what `JournalReader.poll` returns.

    >>> state = SweepState()
    >>> state.apply({"t": 1.0, "event": "finish", "trial_id": "ab", "attempt": 1, "step": 90, "outcome": "grokked"})
    >>> state.apply({"t": 0.5, "event": "trial", "trial_id": "ab", "index": 0, "configuration": 0, "config": {}})
    >>> state.trials["ab"].outcome
    'grokked'
    """

    def __init__(self) -> None:
        self.metric_names: set[str] = set()
        self.faults: dict[str, Fault] = {}  # of measures of the user's own, by name
        self.seeds: set[str] = set()  # that any session's search space had
        self._compact = Compactor()
        self._configurations: dict[int, Configuration] = {}
        self._mentioned: dict[str, TrialState] = {}
        self._trials: dict[str, TrialState] = {}
        self._decisions: list[Decision] = []
        self._sessions: dict[str, Session] = {}
        self._interrupted: set[str] = set()
        self._engines: dict[tuple[str, str], tuple[float, str]] = {}  # by session; when last said of it, and what
        self._highest_index, self._highest_configuration = -1, -1
        self._trials_sorted = self._configurations_sorted = self._decisions_sorted = True
        self._handlers: dict[str, Callable[[Event], None]] = {
            "sweep": self._on_sweep,
            "suggest": self._on_suggest,
            "trial": self._on_trial,
            "start": self._on_start,
            "kernels": self._on_kernels,
            "measurement": self._on_measurement,
            "checkpoint": self._on_checkpoint,
            "finish": self._on_finish,
            "failure": self._on_failure,
            "decision": self._on_decision,
            "end": self._on_end,
            "again": self._on_again,
            "engine": self._on_engine,
            "interrupt": self._on_interrupt,
        }

    def apply(self, event: Event) -> None:
        """Take one sound event, as `JournalReader` gives them. Kinds of later versions are passed over."""
        if handler := self._handlers.get(event["event"]):
            handler(event)

    def apply_all(self, events: Iterable[Event]) -> None:
        for event in events:
            self.apply(event)

    @property
    def trials(self) -> dict[str, TrialState]:
        """Trial id to trial, by rising index. Trials whose `trial` event was not read yet are left out."""
        if not self._trials_sorted:
            self._trials = dict(sorted(self._trials.items(), key=lambda item: (_index(item[1]), item[0])))
            self._trials_sorted = True
        return self._trials

    @property
    def configurations(self) -> dict[int, Configuration]:
        """Index to configuration, by rising index."""
        if not self._configurations_sorted:
            self._configurations = dict(sorted(self._configurations.items()))
            self._configurations_sorted = True
        return self._configurations

    @property
    def decisions(self) -> list[Decision]:
        """Every decision, by time."""
        if not self._decisions_sorted:
            self._decisions.sort(key=attrgetter("t", "trial_id", "step", "action"))
            self._decisions_sorted = True
        return self._decisions

    @property
    def sessions(self) -> list[Session]:
        """The runs of the driver, in order."""
        return sorted(self._sessions.values(), key=attrgetter("number", "started", "session"))

    @property
    def interrupted(self) -> frozenset[str]:
        """The sessions that a user interrupted."""
        return frozenset(self._interrupted)

    @property
    def silent_engines(self) -> dict[str, float]:
        """Those of the last session that do not answer, and since when that is known."""
        last = self.sessions[-1].session if self._sessions else ""
        of_last = {name: said for (session, name), said in sorted(self._engines.items()) if session == last}
        return {name: t for name, (t, said) in of_last.items() if said == "silent"}

    def session_of(self, trial: TrialState, sessions: list[Session] | None = None) -> Session | None:
        """The session that ran a trial last; None if it never started. Pass `sessions` when asking for many."""
        if trial.session in self._sessions:
            return self._sessions[trial.session]
        sessions = self.sessions if sessions is None else sessions
        if trial.started is None or not sessions:
            return None
        sessions = [session for session in sessions if not session.number] or sessions
        return sessions[max(bisect_right(sessions, trial.started, key=attrgetter("started")) - 1, 0)]

    def _on_sweep(self, event: Event) -> None:
        session, fingerprint = str(event["session"]), event["fingerprint"]
        self.seeds.update((seeds_of(fingerprint) if isinstance(fingerprint, dict) else None) or ())
        known = self._sessions.get(session)
        if known is None or event["t"] < known.started:
            self._sessions[session] = Session(
                session=session,
                number=event.get("number") or 0,
                started=event["t"],
                versions=event["versions"],
                command=str(event["command"]),
            )

    def _on_interrupt(self, event: Event) -> None:
        self._interrupted.add(str(event["session"]))

    def _on_engine(self, event: Event) -> None:
        key = str(event.get("session") or ""), str(event["engine"])
        said = event["t"], str(event["state"])
        self._engines[key] = max(self._engines.get(key, said), said)

    def _on_suggest(self, event: Event) -> None:
        configuration = self._configuration(event["configuration"])
        if configuration.suggested is None or event["t"] < configuration.suggested:
            configuration.suggested = event["t"]
            configuration.parameters = self._compact(event["parameters"])
            configuration.value_of = event.get("value_of")

    def _on_trial(self, event: Event) -> None:
        trial = self._trial(event)
        # The same trial may be named again by a later session: its first mention counts.
        if trial.index is not None and trial.index <= event["index"]:
            return
        if trial.index is not None and trial.configuration is not None:
            self._configuration(trial.configuration).trial_ids.remove(trial.trial_id)
        index: int = event["index"]
        trial.index, trial.configuration, trial.seed = index, event["configuration"], event.get("seed")
        trial.config = self._compact(event["config"])
        self._trials_sorted &= index > self._highest_index
        self._highest_index = max(self._highest_index, index)
        self._trials[trial.trial_id] = trial
        ids = self._configuration(event["configuration"]).trial_ids
        ids.append(trial.trial_id)
        ids.sort(key=lambda trial_id: (_index(self._mentioned[trial_id]), trial_id))

    def _on_start(self, event: Event) -> None:
        trial = self._trial(event)
        trial.attempt = max(trial.attempt, event["attempt"])
        trial.started = max(trial.started or event["t"], event["t"])
        start = event["attempt"], event["t"], sys.intern(str(event.get("session") or ""))
        trial._start = max(trial._start, start)

    def _on_kernels(self, event: Event) -> None:
        trial = self._trial(event)
        trial.compiled = bool(trial.compiled) or event["compiled"]

    def _on_measurement(self, event: Event) -> None:
        trial, step, metrics = self._trial(event), event["step"], event["metrics"]
        trial.attempt = max(trial.attempt, event["attempt"])
        trial.steps_trained = max(trial.steps_trained, step)
        trial.measurements += 1
        if not metrics.keys() <= self.metric_names:
            self.metric_names.update(map(sys.intern, metrics))
        for measure, error in (event.get("faults") or {}).items():
            self.faults[measure] = _one_more(self.faults.get(measure), str(error)[:_ERROR_CHARACTERS])
        if step > 0:
            _keep_best(trial.best, step, metrics)
        newest = (step, event["attempt"], event.get("wall_time_s") or 0.0)
        if newest > trial._newest:
            trial._newest, trial.last_step, trial.wall_time_s = newest, step, event.get("wall_time_s")
            trial.last_metrics = self._compact(metrics)
            trial.events = _known_events(event.get("events"))
            tasks, task_events = event.get("tasks"), event.get("task_events")
            trial.task_metrics = {sys.intern(t): self._compact(m) for t, m in tasks.items()} if tasks else NOTHING
            trial.task_events = {t: _known_events(e) for t, e in task_events.items()} if task_events else NOTHING

    def _on_checkpoint(self, event: Event) -> None:
        trial, step = self._trial(event), event["step"]
        trial.attempt = max(trial.attempt, event["attempt"])
        trial.steps_trained = max(trial.steps_trained, step)
        key = (step, event["attempt"], event["name"])
        if key > trial._checkpoint_key:
            trial._checkpoint_key = key
            trial.checkpoint = Checkpoint(name=event["name"], sha256=event["sha256"], step=step)

    def _on_finish(self, event: Event) -> None:
        trial = self._trial(event)
        trial.attempt = max(trial.attempt, event["attempt"])
        trial.steps_trained = max(trial.steps_trained, event["step"])
        finish = (event["attempt"], event["step"], sys.intern(event["outcome"]))
        trial._finish = max(trial._finish or finish, finish)

    def _on_failure(self, event: Event) -> None:
        trial = self._trial(event)
        trial.attempt = max(trial.attempt, event["attempt"])
        fault = sys.intern(event["fault"])
        trial.failures[fault] = trial.failures.get(fault, 0) + 1
        failure = (event["attempt"], event["t"], str(event["error"])[:_ERROR_CHARACTERS])
        trial._failure = max(trial._failure or failure, failure)

    def _on_decision(self, event: Event) -> None:
        trial = self._trial(event)
        decision = Decision(
            t=event["t"],
            trial_id=trial.trial_id,
            step=event["step"],
            action=sys.intern(event["action"]),
            rung=event.get("rung"),
            metric=event.get("metric"),
            value=event.get("value"),
            cutoff=event.get("cutoff"),
            reason=event.get("reason"),
            audit_probability=event.get("audit_probability"),
            raw=event.get("raw"),
            fitted_step=event.get("fitted_step"),
        )
        self._decisions.append(decision)
        self._decisions_sorted = False
        last = trial.decision
        if last is None or _when(last) < _when(decision):
            trial.decision = decision
        first = trial.stop
        if decision.action in ("stop", "audit") and (first is None or _when(decision) < _when(first)):
            trial.stop = decision

    def _on_end(self, event: Event) -> None:
        trial = self._trial(event)
        trial.steps_trained = max(trial.steps_trained, event.get("step") or 0)
        error = str(event.get("error") or "")[:_ERROR_CHARACTERS]
        end = (event.get("round") or 0, event["t"], sys.intern(event["outcome"]), error)
        trial._ended = max(trial._ended or end, end)

    def _on_again(self, event: Event) -> None:
        trial = self._trial(event)
        number = event.get("round") or 0
        trial._again = max(trial._again, (number, 0.0 if number else event["t"]))

    def _trial(self, event: Event) -> TrialState:
        trial = self._mentioned.get(event["trial_id"])
        if trial is None:
            trial = self._mentioned[event["trial_id"]] = TrialState(trial_id=event["trial_id"])
        return trial

    def _configuration(self, index: int) -> Configuration:
        configuration = self._configurations.get(index)
        if configuration is None:
            configuration = self._configurations[index] = Configuration(index=index)
            self._configurations_sorted &= index > self._highest_configuration
            self._highest_configuration = max(self._highest_configuration, index)
        return configuration


def _one_more(known: Fault | None, error: str) -> Fault:
    return Fault(times=1 + (known.times if known else 0), error=min(error, known.error if known else error))


def _when(decision: Decision) -> tuple[int, float, str]:
    return decision.step, decision.t, decision.action


def _known_events(events: dict[str, int | None] | None) -> dict[str, int]:
    seen = events or {}
    return {name: step for name in EVENT_FIELDS if isinstance(step := seen.get(name), int)}


def _keep_best(best: dict[str, float], step: int, metrics: dict[str, float | None]) -> None:
    accuracy, loss = metrics.get("heldout_exact_match"), metrics.get("heldout_loss")
    if isinstance(accuracy, int | float):
        before = best.get("heldout_exact_match", float("-inf"))
        if accuracy > before or (accuracy == before and step < best["heldout_exact_match_step"]):
            best["heldout_exact_match"], best["heldout_exact_match_step"] = accuracy, step
    if isinstance(loss, int | float) and loss < best.get("heldout_loss", float("inf")):
        best["heldout_loss"] = loss


def _index(trial: TrialState) -> int:
    return -1 if trial.index is None else trial.index
