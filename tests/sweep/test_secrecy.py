from __future__ import annotations

from ray.tune.execution.class_cache import _ActorClassCache

from grokray.sweep.secrecy import without_keys


class Trainable:
    pass


def handed_on() -> set[str]:
    """The variables that Tune would put into an actor's runtime_env."""
    actor_class = _ActorClassCache().get(Trainable)
    return {*actor_class._default_options["runtime_env"]["env_vars"]}


def test_tune_hands_no_keys_on(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"):
        monkeypatch.setenv(name, "CANARY")
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "0")
    with without_keys():
        assert handed_on() >= {"RAY_CHDIR_TO_TRIAL_DIR"}
        assert not [name for name in handed_on() if name.startswith("AWS_")]
    assert "AWS_SECRET_ACCESS_KEY" in handed_on()  # or there is nothing to keep from it any more
