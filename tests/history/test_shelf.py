"""History on the disk: whole pages or nothing, for its owner alone, and never taken for what it is not."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import stat
from pathlib import Path

import msgspec
import pytest

from monitor.history import shelf as module
from monitor.history.coverage import leaf
from monitor.history.shelf import VERSION, HistoryError, Place, Shelf, path_of, read, volumes
from rules.model import Message, MessageId
from tests.history.building import a_list, a_page
from tests.rules.builders import a_message

BOB = Place("275211", "user", "bob")
ROWS = a_list(*range(1, 10))


def filled(folder: Path, place: Place = BOB, *, is_redacted: bool = False) -> Path:
    """Three pages of three rows."""
    with Shelf(folder, place, is_redacted=is_redacted) as shelf:
        for before in (None, MessageId(7), MessageId(4)):
            page = a_page(ROWS, before)
            shelf.append(leaf(page, before), page.messages)
        return shelf.path


def test_what_was_appended_is_there_again(tmp_path: Path) -> None:
    path = filled(tmp_path)
    volume = read(path)
    assert [message.id for message in volume.messages] == [7, 8, 9, 4, 5, 6, 1, 2, 3]
    assert sorted(volume.messages, key=lambda message: message.id) == ROWS
    with Shelf(tmp_path, BOB) as again:
        assert tuple(again.leaves) == volume.leaves
        assert len(again.leaves) == 3


def test_files_are_the_owners_alone_also_if_they_were_not(tmp_path: Path) -> None:
    path = filled(tmp_path / "not" / "there")
    for _ in range(2):
        folders = [folder for folder in path.parents if tmp_path in folder.parents]
        assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.chmod(0o644)
        path.parent.chmod(0o755)
        filled(tmp_path / "not" / "there")


def test_a_page_cut_short_anywhere_is_as_if_it_had_not_been_written(tmp_path: Path) -> None:
    path = filled(tmp_path)
    whole = path.read_bytes()
    ends = [end for end, _ in module._members(whole)]
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        pages = max(sum(end <= size for end in ends) - 1, 0)
        if pages:
            assert len(read(path).leaves) == pages
        with Shelf(tmp_path, BOB) as shelf:
            assert len(shelf.leaves) == pages
        with Shelf(tmp_path, BOB) as shelf:
            page = a_page(ROWS, 4)
            shelf.append(leaf(page, MessageId(4)), page.messages)
        assert len(read(path).leaves) == pages + 1


def test_the_same_pages_make_the_same_bytes(tmp_path: Path) -> None:
    assert filled(tmp_path / "a").read_bytes() == filled(tmp_path / "b").read_bytes()
    path = filled(tmp_path / "c")
    assert gzip.decompress(path.read_bytes()).startswith(b'{"history":1,"app":"275211"')


def test_redacted_history_is_kept_apart_and_holds_nothing_that_was_written(tmp_path: Path) -> None:
    plain, bare = filled(tmp_path), filled(tmp_path, is_redacted=True)
    assert plain != bare
    assert b"text 7" in gzip.decompress(plain.read_bytes())
    told = gzip.decompress(bare.read_bytes())
    assert b"text" not in told.replace(b'"type":"text"', b"")
    assert b"Ann Archer" not in told
    assert read(bare).label.redacted


def test_two_cannot_fill_one_history_at_a_time(tmp_path: Path) -> None:
    with Shelf(tmp_path, BOB), pytest.raises(HistoryError, match="another process is filling this history"):
        Shelf(tmp_path, BOB)
    with Shelf(tmp_path, BOB):
        pass


def test_another_version_is_told_apart(tmp_path: Path) -> None:
    path = filled(tmp_path)
    label = {"history": VERSION + 1, "app": "275211", "endpoint": "user", "name": "bob", "redacted": False}
    path.write_bytes(gzip.compress(json.dumps(label).encode()))
    for use in (lambda: read(path), lambda: Shelf(tmp_path, BOB)):
        with pytest.raises(HistoryError, match=r"written by another version .* delete it"):
            use()


def test_a_message_of_another_shape_is_another_version() -> None:
    """Rows of old would lack what rules look at: raise VERSION, then put the new digest here."""
    fields = json.dumps(msgspec.json.schema(Message), sort_keys=True)
    assert (VERSION, hashlib.sha256(fields.encode()).hexdigest()[:12]) == (1, "e858573faefd")


@pytest.mark.parametrize(
    "content", [b"PK\x03\x04 a zip file", gzip.compress(b"rows: []", mtime=0), b"x" * 4096]
)
def test_a_strange_file_is_neither_read_nor_touched(tmp_path: Path, content: bytes) -> None:
    path = filled(tmp_path)
    path.write_bytes(content)
    for use in (lambda: read(path), lambda: Shelf(tmp_path, BOB)):
        with pytest.raises(HistoryError, match="this is no history of Cometwatch"):
            use()
    assert path.read_bytes() == content


def test_the_history_of_somebody_else_is_not_added_to(tmp_path: Path) -> None:
    path = filled(tmp_path)
    path.rename(path.with_name("eve.jsonl.gz"))
    with pytest.raises(
        HistoryError, match=r"this is the history of bob \(user, app 275211\); delete the file"
    ):
        Shelf(tmp_path, Place("275211", "user", "eve"))


def test_a_link_is_not_followed_and_a_folder_in_the_way_is_told(tmp_path: Path) -> None:
    path = path_of(tmp_path, BOB, is_redacted=False)
    path.parent.mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere"
    path.symlink_to(elsewhere)
    with pytest.raises(HistoryError, match="give another folder with --cache"):
        Shelf(tmp_path, BOB)
    assert not elsewhere.exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(HistoryError, match="Not a directory; give another folder"):
        Shelf(tmp_path / "file", BOB)


@pytest.mark.parametrize("name", ["..", ".", "../../etc/passwd", "a" * 100 + "ü" * 50, "", "@group:x/y", "é"])
def test_no_name_leaves_its_folder(tmp_path: Path, name: str) -> None:
    path = path_of(tmp_path, Place("127.0.0.1:9000/v3", "group", name), is_redacted=False)
    assert path.parent.parent.parent == tmp_path
    assert len(os.fsencode(path.name)) < 255
    place = Place("127.0.0.1:9000/v3", "group", name)
    assert filled(tmp_path, place).resolve() == path.resolve()


def test_a_text_that_utf_8_cannot_hold_is_kept_without_it(tmp_path: Path) -> None:
    page = a_page([a_message(text="half a \ud83d smile")])
    with Shelf(tmp_path, BOB) as shelf:
        shelf.append(leaf(page, None), page.messages)
    (message,) = read(shelf.path).messages
    assert message.text == "half a ? smile"


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = filled(tmp_path)
    before = path.read_bytes()
    page = a_page(ROWS, 4)
    with Shelf(tmp_path, BOB) as shelf:
        real = os.write
        monkeypatch.setattr(os, "write", lambda fd, packed: real(fd, packed[:20]))
        with pytest.raises(HistoryError, match="the disk is full"):
            shelf.append(leaf(page, MessageId(4)), page.messages)
    assert path.read_bytes() == before


def test_the_histories_of_an_app_are_found_in_order(tmp_path: Path) -> None:
    made = [filled(tmp_path, Place(app, "user", name)) for app in ("a", "b") for name in ("ann", "bob")]
    assert volumes(tmp_path, "a") == made[:2]
    assert volumes(tmp_path) == made
    assert volumes(tmp_path / "nowhere") == []
