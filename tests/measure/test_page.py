"""Pages escape once and in one place, and their tables stay inside the screen."""

from __future__ import annotations

import html.parser

from wav2edge.measure import page
from wav2edge.measure.scoring import AlignedWords


class Tags(html.parser.HTMLParser):
    """Checks that tags nest; collects names, and what would be fetched or run."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.refused: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.refused += [f"{tag} {name}" for name, _ in attributes if name in ("src", "href") or name.startswith("on")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def tags(text: str) -> Tags:
    parser = Tags()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser


HOSTILE = "<script>alert(1)</script>\" onload='x' \x1b[2J &amp;"


def test_text_is_escaped_wherever_it_enters_and_markup_is_not_escaped_twice() -> None:
    columns = [page.Column(HOSTILE), page.Column("note", numeric=False)]
    rows = [page.TableRow([HOSTILE, HOSTILE], ["1.5", HOSTILE]), page.TableRow([HOSTILE], [HOSTILE])]
    body = page.join(
        [
            page.table(HOSTILE, columns, rows),
            page.bullets([HOSTILE]),
            page.svg(10, 10, [page.svg_text(0, 0, HOSTILE)], HOSTILE),
            page.word_differences([AlignedWords("substitute", (HOSTILE,), (HOSTILE,))]),
            page.element("b", "a & b", title=HOSTILE),
        ]
    )
    whole = page.document(HOSTILE, [page.section(body, HOSTILE)], [HOSTILE])
    found = tags(whole)
    assert "script" not in found.seen and found.refused == []
    assert "<b " in whole and ">a &amp; b</b>" in whole
    assert "\x1b" not in whole


def test_every_table_scrolls_inside_its_card_and_follows_the_readers_colours() -> None:
    whole = page.document("t", [page.section(page.table("n", [page.Column("x")], [page.TableRow(["a"], ["1"])]))])
    before, _, _ = whole.partition("<table")
    assert before.endswith('class="scroll" tabindex="0" role="region" aria-label="table by n">')
    assert ".scroll{overflow-x:auto" in whole and "prefers-color-scheme: dark" in whole
    assert "width=device-width" in whole and "url(" not in whole and "@import" not in whole


def test_a_sentence_takes_the_place_of_all_figures() -> None:
    table = page.table("n", [page.Column("x"), page.Column("y")], [page.TableRow(["a"], ["not here"])])
    assert '<td class="why" colspan="2"><div>not here</div></td>' in table


def test_attributes_are_numbers_or_text_and_may_be_left_out() -> None:
    assert page.element("rect", x=1.50, class_="a", stroke_width=None) == '<rect x="1.5" class="a"></rect>'
    assert page.word_differences([]) == "<em>nothing</em>"
