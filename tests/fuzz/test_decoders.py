"""A small run of the fuzzer, and that it would notice."""

from __future__ import annotations

import random

import pytest

from tests.fuzz import decoders
from tests.fuzz.decoders import TARGETS, Target, run


@pytest.mark.parametrize("seed", [1, 2])
def test_every_input_is_decoded_or_rejected_as_declared(seed: int) -> None:
    result = run(20_000, seed)
    assert result.failures == []
    for target in TARGETS:  # the inputs are neither all good nor all bad
        assert result.decoded[target.name] > 200
        assert result.rejected[target.name] > 200


def test_an_error_of_another_kind_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(given: decoders.Input) -> object:
        raise IndexError

    broken = Target("broken", decode, (ValueError,), lambda rng: "")
    monkeypatch.setattr(decoders, "TARGETS", [broken])
    ((name, _, error),) = run(1, 1).failures
    assert name == "broken"
    assert isinstance(error, IndexError)


def test_the_same_seed_gives_the_same_inputs() -> None:
    one, two = (list(decoders.inputs(random.Random(7), 500)) for _ in range(2))
    assert one == two
