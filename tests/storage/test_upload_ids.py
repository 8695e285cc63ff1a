"""The id of an upload session says whose the session is, and nobody else's it can be."""

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
    """It is a UUID as any, of the version for such things, and survives being sent around."""
    id = UploadId.parse(str(UploadId.new(owner)))
    made = uuid.UUID(id.text)
    assert (made.version, made.variant) == (8, uuid.RFC_4122)
    assert id.is_of(owner)
    assert id.is_of(other) is (other == owner)
    assert not id.is_of("")


@given(_NAMES, st.integers(0, 127))
def test_a_changed_one_is_nobodys(owner: str, bit: int) -> None:
    """No bit can be turned, but to make it one of another version: the id of no session."""
    changed = UploadId(str(uuid.UUID(int=uuid.UUID(UploadId.new(owner).text).int ^ 1 << bit)))
    is_of_another_version = uuid.UUID(changed.text).version != 8
    assert changed.is_of(owner) is is_of_another_version


@given(st.uuids(version=4), _NAMES)
def test_a_random_one_is_anybodys(made: uuid.UUID, name: str) -> None:
    """As CNCF distribution makes them, and a registry that asks nobody."""
    assert uuid.UUID(UploadId.new().text).version == 4
    assert UploadId(str(made)).is_of(name)
    assert UploadId(str(made)).is_of("")


@given(st.uuids(), _NAMES)
def test_any_uuid_is_somebodys_or_not(made: uuid.UUID, name: str) -> None:
    """Whatever a client sends in place of an id, asking raises nothing."""
    UploadId.parse(str(made)).is_of(name)


def test_two_of_an_owner_differ() -> None:
    """Each is drawn anew."""
    assert len({UploadId.new("ann").text for _ in range(100)}) == 100


@pytest.mark.parametrize("text", ["", "x", "0" * 32, str(uuid.UUID(int=10**38, version=4)).upper()])
def test_what_is_no_uuid_is_no_id(text: str) -> None:
    """There is one way to write each."""
    with pytest.raises(UploadIdInvalid):
        UploadId.parse(text)
