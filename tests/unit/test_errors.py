"""Errors that were dealt with."""

from __future__ import annotations

from operator_svc.errors import drop_frames


def test_errors_that_come_from_one_another_lose_their_frames_once() -> None:
    first, second = ValueError("first"), KeyError("second")
    first.__cause__, second.__cause__ = second, first
    try:
        raise first
    except ValueError as error:
        drop_frames(error)
    assert first.__traceback__ is None


def test_both_the_cause_and_the_context_of_an_error_lose_their_frames() -> None:
    cause = OSError("cause")
    context = KeyError("context")
    try:
        try:
            raise context
        except KeyError:
            raise ValueError from cause
    except ValueError as error:
        drop_frames(error)
    assert context.__traceback__ is None


def test_no_error_is_no_fault() -> None:
    drop_frames(None)
