"""Every setting refuses what cannot work, and says which it is."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from whatssound.config import ConnectionConfig, OutboxConfig, RetryConfig, SessionConfig
from whatssound.errors import ConfigurationError

Config = RetryConfig | OutboxConfig | ConnectionConfig | SessionConfig
CONFIGS: tuple[type[Config], ...] = (RetryConfig, OutboxConfig, ConnectionConfig, SessionConfig)

#: (class, setting) of all numbers, except the two that may be 0 or None.
NUMBERS = [
    (kind, field.name)
    for kind in CONFIGS
    for field in dataclasses.fields(kind)
    if field.type in ("int", "float") and field.name != "rate_limit_floor"
]


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_defaults_work_and_are_frozen(kind: type[Config]) -> None:
    config = kind()
    field = dataclasses.fields(kind)[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, field.name, getattr(config, field.name))


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_setting_is_explained(kind: type[Config]) -> None:
    explained = kind.__doc__ or ""
    assert [field.name for field in dataclasses.fields(kind) if f"{field.name}: " not in explained] == []


@pytest.mark.parametrize("value", [0, -1, math.nan])
@pytest.mark.parametrize(("kind", "setting"), NUMBERS, ids=lambda value: getattr(value, "__name__", value))
def test_a_number_must_be_greater_than_zero(kind: type[Config], setting: str, value: float) -> None:
    arguments: dict[str, Any] = {setting: value}
    with pytest.raises(ConfigurationError) as caught:
        kind(**arguments)
    assert caught.value.setting == setting


@pytest.mark.parametrize(
    ("kind", "arguments", "setting"),
    [
        (OutboxConfig, {"batch_size": 501}, "batch_size"),
        (OutboxConfig, {"policy": "drop_newest"}, "policy"),
        (ConnectionConfig, {"rate_limit_floor": -0.1}, "rate_limit_floor"),
        (ConnectionConfig, {"rate_limit_floor": math.nan}, "rate_limit_floor"),
        (ConnectionConfig, {"max_attempts": 0}, "max_attempts"),
        (SessionConfig, {"occupancy_interval": 60.1}, "occupancy_interval"),
    ],
)
def test_what_cannot_work_is_refused(kind: type[Config], arguments: dict[str, Any], setting: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        kind(**arguments)
    assert caught.value.setting == setting


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (OutboxConfig, {"batch_size": 500}),
        (OutboxConfig, {"policy": "wait"}),
        (OutboxConfig, {"policy": "reject"}),
        (OutboxConfig, {"policy": "drop_oldest"}),
        (ConnectionConfig, {"rate_limit_floor": 0.0}),
        (ConnectionConfig, {"max_attempts": 1}),
        (ConnectionConfig, {"max_attempts": None}),
        (SessionConfig, {"occupancy_interval": 60.0}),
        (SessionConfig, {"private": False, "track_presence": False}),
    ],
)
def test_the_edges_are_accepted(kind: type[Config], arguments: dict[str, Any]) -> None:
    config = kind(**arguments)
    assert {name: getattr(config, name) for name in arguments} == arguments


def test_a_batch_is_half_a_second_by_default() -> None:
    assert SessionConfig().outbox.interval == 0.5


def test_the_lease_outlives_two_missed_heartbeats() -> None:
    assert 3 * SessionConfig().occupancy_interval < 90


def test_a_claim_lives_longer_than_the_look_that_confirms_it() -> None:
    config = SessionConfig()
    assert config.claim_timeout > config.reconcile_interval + config.retry.request_timeout


def test_a_refused_joins_answer_is_waited_for() -> None:
    assert ConnectionConfig().join_timeout > 5
