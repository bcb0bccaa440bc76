from __future__ import annotations

import gc

import pytest

from whatssound.cli.demo.collector import rare_collections


def test_the_collector_looks_less_often_and_then_as_before() -> None:
    before = gc.get_threshold()

    def fail() -> None:
        with rare_collections():
            assert gc.isenabled()
            assert gc.get_threshold()[0] > before[0]
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert gc.get_threshold() == before
