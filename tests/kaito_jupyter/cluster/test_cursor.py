from __future__ import annotations

import pytest

from kaito_jupyter.cluster.cursor import Cursor
from kaito_jupyter.cluster.position import SECOND, Position

MAIN = ("5f7fae31-9734", "main")
PUSHER = ("5f7fae31-9734", "pusher")


def test_each_container_keeps_its_own_place_in_another_process() -> None:
    position = Position()
    position.add(1_764_000_000 * SECOND + 5)
    cursor = Cursor()
    cursor.put(MAIN, str(position))
    again = Cursor.parse(str(cursor))
    assert str(again.at(MAIN)) == str(position)
    assert again.at(PUSHER).since == 0
    assert str(again) == str(cursor)


@pytest.mark.parametrize(
    "text", [None, "", "17", "[]", "null", "{", '{"v":99,"at":{}}', '{"v":1}', '{"v":1,"at":{"a/b":"x"}}']
)
def test_what_another_wrote_means_the_beginning(text: str | None) -> None:
    assert Cursor.parse(text).at(MAIN).since == 0
