"""The id of an upload session says which user owns the session."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import UploadIdInvalid
from storage.values.names import UploadId

_NAMES = st.text(st.characters(), min_size=1)


@given(_NAMES, _NAMES)
def test_an_owned_one_is_its_owners(owner: str, other: str) -> None:
    """It is a UUID of version 8, and it can be parsed and printed."""
    id = UploadId.parse(str(UploadId.new(owner)))
    made = uuid.UUID(id.text)
    assert (made.version, made.variant) == (8, uuid.RFC_4122)
    assert id.belongs_to(owner)
    assert id.belongs_to(other) is (other == owner)
    assert not id.belongs_to("")


@given(_NAMES, st.integers(0, 127))
def test_a_changed_one_has_no_owner(owner: str, bit: int) -> None:
    """A change of any bit makes the id invalid, except one that changes the version."""
    changed = UploadId(str(uuid.UUID(int=uuid.UUID(UploadId.new(owner).text).int ^ 1 << bit)))
    is_of_another_version = uuid.UUID(changed.text).version != 8
    assert changed.belongs_to(owner) is is_of_another_version


@given(st.uuids(version=4), _NAMES)
def test_a_random_one_belongs_to_every_user(made: uuid.UUID, name: str) -> None:
    """CNCF distribution makes such ids, and a registry without access control."""
    assert uuid.UUID(UploadId.new().text).version == 4
    assert UploadId(str(made)).belongs_to(name)
    assert UploadId(str(made)).belongs_to("")


@given(st.uuids(), _NAMES)
def test_any_uuid_can_be_checked(made: uuid.UUID, name: str) -> None:
    """Whatever a client sends as an id, the check raises nothing."""
    UploadId.parse(str(made)).belongs_to(name)


def test_two_of_an_owner_differ() -> None:
    """Each is random."""
    assert len({UploadId.new("ann").text for _ in range(100)}) == 100


@pytest.mark.parametrize("text", ["", "x", "0" * 32, str(uuid.UUID(int=10**38, version=4)).upper()])
def test_what_is_no_uuid_is_no_id(text: str) -> None:
    """Each id has one valid form."""
    with pytest.raises(UploadIdInvalid):
        UploadId.parse(text)
