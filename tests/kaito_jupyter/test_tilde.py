"""A path as people write it."""

from pathlib import Path

from kaito_jupyter.tilde import expanded


def test_the_home_is_filled_in_and_a_stranger_is_not():
    assert expanded("~/models") == Path.home() / "models"
    assert expanded("~no-such-user-here/x") == Path("~no-such-user-here/x")
    assert expanded("owner/model") == Path("owner/model")
