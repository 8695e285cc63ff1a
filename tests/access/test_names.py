"""Names: no user has the name of a robot, and the subject of a token is a user in the file."""

from __future__ import annotations

from asyncio import to_thread

from tests.access.conftest import PASSWORDS, Files, Guarded, basic, bearer
from tests.access.test_lessons import token
from tests.support import users

UPLOADS = "/v2/team/app/blobs/uploads/"
ALL_PUSH = {"users": ["*"], "actions": ["pull", "push"]}


async def test_no_user_logs_in_with_the_name_of_a_robot(guarded: Guarded, files: Files) -> None:
    """A denial for `robot:ci` would not apply to a user `robot$ci`, which no rule can name."""
    more = users.lines({"robot$ci": "the password of no robot", "robot": "ci:the password"})
    await to_thread(files.users.write_text, users.lines(PASSWORDS) + more)
    denied = {"users": ["robot:ci"], "deny": ["push"]}
    client = await guarded({"access": {"rules": [ALL_PUSH, denied]}})
    shown = basic("robot$ci", "the password of no robot")
    assert (await client.post(UPLOADS, headers=shown)).status_code == 401
    assert (await client.get("/auth/token", headers=shown)).status_code == 401
    called_robot = basic("robot", "ci:the password")
    assert (await client.post(UPLOADS, headers=called_robot)).status_code == 202
    without_rules = await guarded({"access": {}})
    assert (await without_rules.get("/v2/", headers=shown)).status_code == 200


async def test_a_token_ends_with_its_user_also_where_certificates_are_accepted(
    guarded: Guarded, files: Files
) -> None:
    """A token needs a password, so its user was in the file."""
    settings = {"access": {"rules": [ALL_PUSH], "certificates": True}}
    client = await guarded(settings)
    had = bearer((await token(client, "repository:team/app:pull,push", basic("writer")))["token"])
    assert (await client.post(UPLOADS, headers=had)).status_code == 202
    left = {name: each for name, each in PASSWORDS.items() if name != "writer"}
    await to_thread(files.users.write_text, users.lines(left))
    # Another process with the same key, which reads the file immediately.
    client = await guarded(settings)
    assert (await client.post(UPLOADS, headers=had)).status_code == 401
