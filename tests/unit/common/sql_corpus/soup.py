"""Generated statements: pieces of every dialect in any order, and queries that Postgres can read."""

import re
from typing import Final

from hypothesis import strategies as st

from libs.common.sql import Dialect

_WORDS: Final = re.findall(
    r"\S+",
    "select insert into values in from where and or not between case when then else end limit join on as null true "
    "is like interval date password identified by format copy stdin t1 orders_2024 a b_c x$y E N r q",
)
_SIGNS: Final = (
    "(",
    ")",
    ",",
    ".",
    ";",
    "=",
    "<",
    ">",
    "+",
    "-",
    "*",
    "/",
    "%",
    "::",
    ":",
    "->",
    "->>",
    "||",
    "?",
    "@",
    "[",
    "]",
)
_PLACEHOLDERS: Final = ("$1", "%s", "%(name)s", ":name", ":1", "@p1", "?1", "$x", "{x:UInt8}")
_COMMENTS: Final = ("-- c\n", "--c", "/* c */", "/* a /* b */ c */", "# c\n", "// c\n", "/*", "*/", "/*+ hint */")
_NUMBERS: Final = ("0", "7", "47.11", ".47", "47.", "1e5", "1.5E-3", "0x1F", "1_000", "12L", "2024_a", "1..2")
_QUOTES: Final = ("'", "''", '"', '""', "`", "$$", "$t$", "\\", "'''", '"""', "]", "q'[", "]'", "E'", "U&'", "N'")
_BLANKS: Final = ("", "", " ", "  ", "\n", "\t", "\u00a0")

dialects = st.sampled_from(list(Dialect))
anything = st.one_of(
    st.text(max_size=60),
    st.binary(max_size=60).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    st.text(alphabet="'\"`$-/*#\\?:%@[](){}.,;=+ \n\tEeNnQqUuXxRrBb&019az_", max_size=60),
)
_piece = st.one_of(
    st.sampled_from(_WORDS),
    st.sampled_from(_SIGNS),
    st.sampled_from(_PLACEHOLDERS),
    st.sampled_from(_COMMENTS),
    st.sampled_from(_NUMBERS),
    st.sampled_from(_QUOTES),
    st.sampled_from(
        ("'x'", "'it''s'", '"Q i"', "`b t`", "[b r]", "(1, 2)", "(-1)", "in (1, -2)", "values (1, 'a'), (2, 'b')")
    ),
)
soup = st.lists(st.tuples(_piece, st.sampled_from(_BLANKS)), max_size=25).map(
    lambda pieces: "".join(piece + blank for piece, blank in pieces)
)


def literals(dialect: Dialect) -> st.SearchStrategy[str]:
    """Literals that are well formed in a dialect; each value begins with the marker `zq` or is a number."""
    inner = st.text(alphabet="zq '\"`-/*#$;()?:%\n", max_size=8).map(lambda text: "zq" + text)
    strings = [inner.map(lambda text: "'" + text.replace("'", "''") + "'")]
    if dialect in {Dialect.BIGQUERY, Dialect.SPARK, Dialect.DATABRICKS, Dialect.HIVE}:
        strings = [inner.map(lambda text: "'" + text.replace("'", "\\'") + "'")]
        strings.append(inner.map(lambda text: '"' + text.replace('"', '\\"') + '"'))
    if dialect is Dialect.MYSQL:
        strings.append(inner.map(lambda text: '"' + text.replace('"', '""') + '"'))
    if dialect is Dialect.POSTGRES:
        strings.append(inner.map(lambda text: "E'" + text.replace("'", "\\'") + "'"))
        strings.append(inner.map(lambda text: "$t$" + text.replace("$", "") + "$t$"))
    if dialect is Dialect.SNOWFLAKE:
        strings.append(inner.map(lambda text: "$$" + text.replace("$", "") + "$$"))
    numbers = st.one_of(
        st.integers(min_value=0, max_value=10**9).map(str),
        st.decimals(min_value=0, max_value=10**6, places=3).map(str),
        st.sampled_from(["1e5", "1.5e-3", "2E+7"]),
    )
    return st.one_of(*strings, numbers)


def well_formed(dialect: Dialect) -> st.SearchStrategy[tuple[str, list[str]]]:
    """A statement of well-formed tokens, and the literals among them."""
    quote = (
        "`" if dialect in {Dialect.BIGQUERY, Dialect.MYSQL, Dialect.SPARK, Dialect.DATABRICKS, Dialect.HIVE} else '"'
    )
    signs = ["(", ")", ",", "=", "-", "+", "<", "*", "||", "/* zq ' */", "-- zq '\n"]
    words = ["select", "from", "where", "t1", "a.b", "and", "in", "null", "case", "orders_2024", f"{quote}it's{quote}"]
    others = st.sampled_from(signs + words)
    token = st.one_of(others.map(lambda text: (text, False)), literals(dialect).map(lambda text: (text, True)))
    return st.lists(token, max_size=20).map(
        lambda tokens: (" ".join(text for text, _ in tokens), [text for text, literal in tokens if literal])
    )


_names = st.sampled_from(["a", "b", "orders", '"Order Items"', "s.t", '"a.b"', "shop.s.u", "ORDERS", '"Orders"'])
_short = st.sampled_from(["a", "b", "orders", "x", "y"])


def _selects(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    source = st.one_of(_names, inner.map(lambda query: f"({query}) q"), st.just("generate_series(1, 5) g"))
    return st.one_of(
        st.lists(source, min_size=1, max_size=3).map(lambda found: "select * from " + ", ".join(found)),
        st.tuples(source, source).map(lambda pair: f"select 1 from {pair[0]} join {pair[1]} on true"),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]}) union all ({pair[1]})"),
        st.tuples(_names, inner).map(lambda pair: f"select * from {pair[0]} where x in ({pair[1]})"),
        st.tuples(_names, inner).map(lambda pair: f"select ({pair[1]}), 'from z' from {pair[0]} where c = 5"),
        st.tuples(st.sampled_from(["", "recursive "]), _short, inner, _short, inner, inner).map(
            lambda w: f"with {w[0]}{w[1]} as ({w[2]}), {w[3]}1 as ({w[4]}) select * from ({w[5]}) f, {w[1]}"
        ),
    )


queries = st.recursive(_names.map(lambda name: f"select a from {name}"), _selects, max_leaves=8)
postgres_statements = st.one_of(
    queries,
    st.tuples(_names, queries).map(lambda pair: f"insert into {pair[0]} {pair[1]}"),
    st.tuples(_names, queries).map(lambda pair: f"create table {pair[0]} as {pair[1]}"),
    st.tuples(_names, queries).map(lambda pair: f"delete from {pair[0]} where x in ({pair[1]})"),
    st.tuples(_names, _names, queries).map(lambda p: f"update {p[0]} set x = ({p[2]}) from {p[1]} z"),
    queries.map(lambda query: f"explain (analyze, costs off) {query}"),
    queries.map(lambda query: f"declare c cursor for {query}"),
    queries.map(lambda query: f"copy ({query}) to stdout"),
)
