"""A broken configuration is told in plain words, with its place and its line, whatever it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from qdrant_dr import configfile
from qdrant_dr.configfile.excerpt import excerpt
from qdrant_dr.errors import ConfigInvalid, DRError
from tests.support.configurations import GOOD, HUSH

FOREIGN = re.compile(
    # of pydantic
    r"[Ii]nput should|extra inputs|\bvalidat|[Ff]ield required|unable to (parse|interpret)"
    r"|[Vv]alue error|should (be|have)|valid (string|integer|number|boolean|tuple|dictionary|list)"
    # of the parser
    r"|mapping values|could not find|expected ['<]|block (end|mapping|sequence|collection)"
    r"|flow (mapping|sequence|node)|while (scanning|parsing)|\bscalar\b|\banchor\b|\btoken\b"
    r"|document start|<stream|simple key|undefined alias|yaml\.|unicode string"
    # of Python
    r"|\b(str|int|float|bool|dict|tuple|NoneType)\b|Traceback|<class|\bNone\b|\bTrue\b|\bFalse\b"
)
"""Words of those who read it for us. `list` is a word of ours, too."""
PLACE = re.compile(r"^ *q\.yaml:(\d+):(\d+): (.+)(?:\n +.*\n +\^)?$", re.MULTILINE)
"""A line with nothing on it is not shown."""


def told(text: str) -> list[tuple[int, int, str]]:
    """Line, column and words of everything that is wrong; each is shown with a mark below it."""
    with pytest.raises(ConfigInvalid) as caught:
        configfile.loads(text, where="q.yaml")
    message = caught.value.message
    shown = [line for line in message.splitlines() if re.match(r"\s+\^$|\s{4}", line)]
    said = "\n".join(line for line in message.splitlines() if line not in shown)
    assert not FOREIGN.search(said), said
    assert not FOREIGN.search(caught.value.hint)
    found = PLACE.findall(message)
    assert len(found) == said.count("q.yaml:")
    written = text.splitlines()
    shown_of = {int(n) for n, *_ in found if written[int(n) - 1 : int(n)]}
    assert message.count("^") >= sum(bool(written[n - 1].strip()) for n in shown_of)
    return [(int(line), int(column), words) for line, column, words in found]


# what is replaced in GOOD, by what, on which line of it the mark stands, in which column, and words
BROKEN = [
    ("  name: prod\n", "\tname: prod\n", 0, 1, "there is a tab here: indent with spaces"),
    ("  name: prod\n", "  \tname: prod\n", 0, 3, "there is a tab here"),
    ("  name: prod\n", "  name:prod\n", 0, 8, "a space is missing after the colon"),
    ("  name: prod\n", "   name: prod\n", 1, 3, "its indentation matches no line above"),
    ("  name: prod\n", " name: prod\n", 1, 3, "is indented deeper than the one above"),
    ("  name: prod\n", "  name prod\n", 0, 3, "a colon and a space are missing"),
    ("  name: prod\n", "  name: prod: x\n", 0, 13, "a second colon on a line"),
    ("  name: prod\n", "  name: 'prod\n", 0, 9, "the quote that is opened here is not closed"),
    ("  name: prod\n", '  name: "prod\n', 0, 9, "the quote that is opened here is not closed"),
    ("  name: prod\n", "  name: 'it''s prod\n", 0, 9, "the quote that is opened here"),
    ("  name: prod\n", '  name: "prod" x\n', 0, 16, "there is text after a closing quote"),
    ("  name: prod\n", "  name: [prod] x\n", 0, 16, "there is text after a closing bracket"),
    ("  name: prod\n", "  name: @prod\n", 0, 9, "a value cannot begin with this character"),
    ("  name: prod\n", "  name: `prod`\n", 0, 9, "a value cannot begin with this character"),
    ("  name: prod\n", "  name: %prod\n", 0, 9, "a value cannot begin with this character"),
    ("  name: prod\n", "%name: prod\n", 0, 1, "a line cannot begin with `%`"),
    ("  name: prod\n", "  name: prod\n  name: prod\n", 1, 3, "appears twice (first on line 4)"),
    ("  name: prod\n", "  name: prod\n---\n", 1, 1, "`---` begins a second document"),
    ("  name: prod\n", "  name: !prod x\n", 0, 9, "tags are not used here"),
    ("  name: prod\n", "  name: !<x prod\n", 0, 9, "`!` at the beginning of a value"),
    ("  name: prod\n", "  name: | x\n", 0, 11, "nothing may follow `|` or `>`"),
    ("  name: prod\n", "  name: &a prod\n  x: &a y\n", 1, 6, "two values have the same `&` name"),
    ("  name: prod\n", "  name: prod\n  ? a\n  b\n", 2, 3, "a colon and a space are missing"),
    ('include: ["*"]', "include: [*]", 0, 13, 'put it in quotes, as in ["*"]'),
    ('include: ["*"]', "include: *", 0, 12, "put it in quotes"),
    ('include: ["*"]', "include: *all", 0, 12, "this refers by `*` to a value that no `&`"),
    ('include: ["*"]', 'include: ["*"', 0, 12, "not closed with `]`, or a comma is missing"),
    ('include: ["*"]', 'include: ["*" "x"]', 0, 12, "a comma is missing"),
    ('include: ["*"]', 'include: - "*"', 0, 12, "a list cannot begin on the line of its key"),
    ("expect: [movies, users]", "expect: [movies,, users]", 0, 19, "remove the comma"),
    ("expect: [movies, users]", "expect:\n  - a\n - b", 2, 2, "its indentation matches no line"),
    ("expect: [movies, users]", "expect: {movies: 1, users", 0, 11, "not closed with `}`"),
    ("expect: [movies, users]", "expect: movies]", 0, 3, "must be a list: `[a, b]`, or one `- a`"),
    ("max: 200GiB", 'max: "C:\\Users"', 0, 47, "a backslash in double quotes begins an escape"),
    ("{path: /var/tmp/qdrant-dr,", "{path:/x,", 0, 16, "capture.spool.path: a space is missing"),
    ("cluster:\n", "cluster\n", 0, 1, "a colon and a space are missing"),
    ("cluster:\n", "cluster: x\n", 1, 3, "which has a value of its own"),
    ("cluster:\n  name: prod", "cluster:\n  - name: prod", 2, 3, "its indentation matches no line"),
    ("report: {", "report {", 0, 7, "a colon is missing after the key"),
    ("report: {", "retention:\nreport: {", 0, 1, "retention: appears twice"),
    ("format: 1", "format: '1'", 0, 1, "must be `1` without quotes"),
    ("format: 1", "format: 1\n- a", 1, 1, "its indentation matches no line above"),
    ("quorum: 2", "quorum: two", 0, 10, "must be a whole number"),
    ("quorum: 2", "quorum: 2.5", 0, 10, "must be a whole number"),
    ("quorum: 2", "quorum: [2]", 0, 10, "must be a whole number"),
    ("quorum: 2", "quorum: " + "9" * 4000, 0, 10, "copies.quorum"),
    ("disposable: true", "disposable: maybe", 0, 66, "must be `true` or `false`"),
    ("rto: 1h", "rto: [1h]", 0, 3, "this is not a duration: give a number and s, m, h, d or w"),
    ("rto: 1h", "rto: {a: 1h}", 0, 3, "this is not a duration"),
    ("rto: 1h", "rto: true", 0, 3, "true is not a duration"),
    ("rto: 1h", "rto: 99999999999999d", 0, 3, "is longer than any duration can be"),
    ("max: 200GiB", "max: " + "9" * 400 + "GiB", 0, 37, "is larger than any size can be"),
    ("max: 200GiB", "max: [1]", 0, 37, "this is not a size"),
    ("public_url: null", "public_url: ftp://x", 0, 71, "must be an address that begins with http"),
    ("owner: search-team", "owner: [a]", 0, 7, "must be text: put it in quotes"),
    ("owner: search-team", "owner: 1.5.2.x: y", 0, 21, "a second colon on a line"),
    ("reason: rebuilt nightly by etl", "reason: x", 0, 24, "must have at least 3 characters"),
    ("read_api_key: null", "read_share: 2", 0, 3, "must be 1 or less"),
    ("read_api_key: null", "read_share: 0.0", 0, 3, "must be greater than 0"),
    ("read_api_key: null", "read_share: much", 0, 3, "must be a number"),
    ("read_api_key: null", "peers: [a]", 0, 3, "must hold keys of its own: one `key: value`"),
    ("read_api_key: null", "tls: {key: x, certificate: y}", 0, 9, "must be a reference"),
    ("copies: {quorum: 2, domains: 2, stall_timeout: 90s}", "copies: []", 0, 1,
     "must hold keys of its own: `quorum`"),
    ("[https://qdrant-0.internal:6333]", "[]", 0, 3, "must have at least one entry"),
    ("timezone: Europe/Berlin", "timezone: 5", 0, 46, "is not a time zone"),
    ("pick: coverage", "pikc: coverage", 0, 3, "no such key; did you mean `pick`?"),
    ("retention: {last: 7", "retentoin: {last: 7", 0, 1, "did you mean `retention`?"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("good", "bad", "below", "column", "said"), BROKEN, ids=[b[1].strip()[:30] for b in BROKEN]
)
def test_what_is_broken_is_told_in_plain_words_at_its_place(
    good: str, bad: str, below: int, column: int, said: str
) -> None:
    assert GOOD.count(good) == 1
    line = GOOD[: GOOD.index(good)].count("\n") + 1 + below
    found = told(GOOD.replace(good, bad))
    assert any((at, col) == (line, column) and said in words for at, col, words in found), found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("# only a remark\n", "the file is empty"),
        ("- a\n", "the file is not a mapping of keys: it begins with `format: 1`"),
        ("hello", "the file is not a mapping of keys"),
        ("format: 1\ncluster: {name: a\n", "not closed with `}`"),
        ("{", "not closed with `}`"),
        ("format: 1\nx: \x07\n", "remove the invisible character U+0007 here"),
        ("\t", "there is a tab here"),
        ("}", "closes or continues nothing"),
        ("a: 'b", "the quote that is opened here"),
        ("[", "not closed with `]`"),
        ("? [a]\n: b\n", "a key must be a word"),
    ],
)
def test_what_is_no_configuration_at_all(text: str, said: str) -> None:
    assert any(said in words for _, _, words in told(text))


def test_the_line_is_shown_with_a_mark_below_it() -> None:
    with pytest.raises(ConfigInvalid) as caught:
        configfile.loads(GOOD.replace("quorum: 2", "quorum: two"), where="q.yaml")
    assert caught.value.message.splitlines() == [
        "q.yaml:35:10: copies.quorum: must be a whole number, such as 3",
        "    copies: {quorum: two, domains: 2, stall_timeout: 90s}",
        "             ^",
    ]


@pytest.mark.parametrize(
    ("lines", "line", "column", "shown"),
    [
        ([f"api_key: {HUSH}"], 1, 10, "api_key: ..."),
        ([f"{{name: x, key: {HUSH}, secret: {HUSH}}}"], 1, 30, "{name: x, key: ..."),
        (["secret: |", f"  {HUSH}"], 2, 1, "..."),
        (['password: "a', "", f"  {HUSH}"], 3, 1, "..."),
        ([f"x: http://me:{HUSH}@host/"], 1, 1, "x: ..."),
        ([f"x: 'me:{HUSH}@host'"], 1, 1, "x: ..."),
        ([f"url: s3://a/b?sig={HUSH}"], 1, 1, "url: s3://a/b..."),
        ([f"x AccountKey={HUSH};"], 1, 1, "x ..."),
        (["x: Zm9vYmFyZm9vYmFyZm9vYmFyZm9v"], 1, 1, "x: ..."),
        (["a\tb"], 1, 2, "a b"),
        (["a\x1b[31mb"], 1, 2, "a\ufffd[31mb"),
    ],
)
def test_a_line_is_shown_without_what_may_be_a_secret(
    lines: list[str], line: int, column: int, shown: str
) -> None:
    text, mark = excerpt(lines, line, column).split("\n")
    assert text.strip() == shown
    assert mark.endswith("^")
    assert len(mark) <= len(text) + 1


def test_a_long_line_is_shown_around_the_mark() -> None:
    text, mark = excerpt([", ".join(["x"] * 1000)], 1, 1500).split("\n")
    assert len(text) <= 104
    assert text[len(mark) - 1] in "x, "


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (GOOD.encode("utf-16"), r"c\.yaml:1:1: it is not UTF-8 text"),
        (GOOD.replace("search-team", "München").encode("latin-1"), r"c\.yaml:16:15: it is not UTF"),
    ],
)
def test_a_file_of_another_encoding(data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(data)
    with pytest.raises(ConfigInvalid, match=said) as caught:
        configfile.load(tmp_path / "c.yaml")
    assert "save it as UTF-8" in caught.value.hint
    with pytest.raises(ConfigInvalid, match=said):
        configfile.load((tmp_path / "c.yaml").as_uri())


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_files_of_windows_are_read_and_kept_as_they_are(
    end: str, mark: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "c.yaml"
    text = configfile.init_text("http://localhost:6333").replace("\n", end)
    file.write_bytes(mark + text.encode())
    assert configfile.load(file).cluster.name == "local"
    configfile.save_ids(file, {"local": "0123abcd"})
    assert configfile.load(file).repositories[0].id == "0123abcd"
    written = file.read_bytes()
    assert written.startswith(mark)
    assert written.count(end.encode()) == text.count(end) + 1
    assert (b"\r" in written) == (end == "\r\n")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_bytes(mark + text.replace("format: 1", "fromat: 1").encode())
    with pytest.raises(ConfigInvalid, match=r"wrong\.yaml:4:1: fromat: no such key"):
        configfile.load(wrong)


def test_a_folder_and_no_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="Is a directory") as caught:
        configfile.load(tmp_path)
    assert f"-c {tmp_path}/qdrant-dr.yaml" in caught.value.hint
    with pytest.raises(ConfigInvalid, match="is not a file name"):
        configfile.load("a\0b")


# laws

PIECES = [
    "\t", " ", "  ", "\n", ":", ": ", "- ", "'", '"', "[", "]", "{", "}", ",", "#", "&a ", "*a",
    "!", "|", ">", "%", "@", "`", "?", "---\n", "\\", "null", "true", "1e5", "-1", "é", "\x07",
    "\ud800", "\r", "\u2028", "0x1F", "<<: *a\n",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A good file with a few pieces cut, doubled, moved or put into it."""
    text = draw(st.sampled_from([GOOD, configfile.init_text("http://localhost:6333")]))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        end = min(len(text), at + draw(st.integers(0, 30)))
        match draw(st.sampled_from(["cut", "put", "double", "swap", "line"])):
            case "cut":
                text = text[:at] + text[end:]
            case "put":
                text = text[:at] + draw(st.sampled_from(PIECES) | st.text(max_size=5)) + text[at:]
            case "double":
                text = text[:end] + text[at:]
            case "swap":
                text = text[:at] + text[at:end][::-1] + text[end:]
            case _:
                lines = text.split("\n")
                line = draw(st.integers(0, len(lines) - 1))
                lines[line] = draw(st.sampled_from([" ", "  ", "\t", "- "])) + lines[line]
                text = "\n".join(lines)
    return text


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutated())
@example("a: \ud800")
@example('format: 1\ncluster: {name: "\\ud800"}')
def test_any_change_of_a_good_file_is_read_or_told_in_plain_words(text: str) -> None:
    try:
        configfile.loads(text, where="q.yaml")
    except DRError:
        assert told(text)
