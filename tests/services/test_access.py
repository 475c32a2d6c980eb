"""Access: the user that a caller acts for, and the one whose records its lists hold."""

from __future__ import annotations

import pytest

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller
from operator_svc.services.access import acting_user, listed_user

BOUND = Caller("ana", "client", "ana")
FREE = Caller("gateway", "client")
ADMIN = Caller("on-call", "operator")


def test_a_bound_caller_acts_for_its_user() -> None:
    assert acting_user(BOUND, None) == acting_user(BOUND, "ana") == "ana"
    assert listed_user(BOUND, None) == "ana"


@pytest.mark.parametrize("rule", [acting_user, listed_user])
def test_a_bound_caller_that_names_another_user_is_refused(rule: object) -> None:
    assert callable(rule)
    with pytest.raises(OperatorError) as caught:
        rule(BOUND, "bob")
    assert caught.value.code is ErrorCode.FORBIDDEN


def test_an_unbound_caller_acts_for_the_user_it_names() -> None:
    assert acting_user(FREE, "bob") == listed_user(FREE, "bob") == "bob"
    assert acting_user(FREE, None) == "local"


def test_only_the_role_operator_lists_the_records_of_all_users() -> None:
    assert listed_user(ADMIN, None) is None
    assert listed_user(ADMIN, "bob") == "bob"
    with pytest.raises(OperatorError) as caught:
        listed_user(FREE, None)
    assert caught.value.code is ErrorCode.FORBIDDEN
    assert listed_user(FREE, None, "a-session") is None
