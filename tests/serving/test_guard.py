"""Who may call: nobody by a name that is not ours, no page of another site."""

import pytest

from qasr_train.serving.guard import caller_refusal
from qasr_train.serving.settings import is_loopback

NAMES = {"localhost", "asr.local"}


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8000", None),
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("192.168.1.7:8000", None),  # a number is nobody's name, so none that was made to lead here
        ("ASR.local", "https://asr.local"),
    ],
)
def test_may_call(host: str, origin: str | None) -> None:
    assert caller_refusal({"host": host} | ({} if origin is None else {"origin": origin}), NAMES) is None


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("rebound.example:8000", None),
        ("localhost.example:8000", None),
        ("127.0.0.1.example", None),
        ("", None),
        ("[::1", None),
        ("localhost:8000", "http://evil.example"),
        ("localhost:8000", "http://localhost:3000"),  # another program of this machine
        ("localhost:8000", "null"),  # a sandboxed frame, a file
        ("localhost:8000", "http://localhost:8000.evil.example"),
    ],
)
def test_may_not_call(host: str, origin: str | None) -> None:
    refused = caller_refusal({"host": host} | ({} if origin is None else {"origin": origin}), NAMES)
    assert refused is not None and int(refused.status) == 403


def test_which_addresses_are_this_machines_alone() -> None:
    assert [is_loopback(one) for one in ("127.0.0.1", "127.9.9.9", "::1", "localhost")] == [True] * 4
    assert [is_loopback(one) for one in ("0.0.0.0", "::", "192.168.1.7", "asr.local")] == [False] * 4
