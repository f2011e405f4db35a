"""Files with a recording's name that hold text: an error page, a Git LFS pointer, a list of other files."""

from __future__ import annotations

_LISTS = (b"#EXTM3U", b"[playlist]", b"ffconcat version", b"#EXTINF")
_TEXT = "it is text, not a recording"
_SHORTEST = 32
"""Bytes of text that samples are not by chance."""
_FEWEST_LETTERS = 8
"""Different bytes in them."""

_PAGES = (b"<!doctype html", b"<html", b"<?xml", b"<head", b"<error")


def kind_of(head: bytes) -> str | None:
    """What kind of text begins with these bytes (4 kB are enough), and what to do; None where it is not text."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    low = start[:64].lower()
    if start.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, not the recording; fetch it with `git lfs pull`"
    if any(low.startswith(page) for page in _PAGES):
        return "it is a web page, not a recording; download the recording again"
    if start.startswith(_LISTS):
        return "it is a list of other files, which are not opened; name the recordings"
    if not head or any(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in head):
        return None
    try:
        head[: len(head) - 3].decode("utf-8")  # a character may be cut in two at its end
    except UnicodeDecodeError:
        return None
    return _TEXT


def kind_in_place_of_samples(head: bytes) -> str | None:
    """As ``kind_of``, where samples without a header are expected; None where these bytes may be such samples.

    Constant samples may be letters: 0x55 is silence in A-law, 0x7F in mu-law.
    """
    found = kind_of(head)
    constant = len(set(head)) < _FEWEST_LETTERS or b" " not in head
    return None if found == _TEXT and (len(head) < _SHORTEST or constant) else found
