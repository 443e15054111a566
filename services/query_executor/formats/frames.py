"""Arrow batches of a server as cells of CSV and as batches to be sent: vectorised, a column at a time."""

from collections.abc import Sequence
from typing import Any, Final

from services.query_executor.optional import optional
from services.query_executor.redact import REDACTED, Redactor

pyarrow, pc, csv = optional("pyarrow"), optional("pyarrow.compute"), optional("pyarrow.csv")

AVAILABLE: Final = pyarrow is not None

_FORMULA: Final = (b"=", b"+", b"-", b"@", b"\t", b"\r")
_HARMLESS: Final = r"^-(?:\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|infinity)$"
# What the client makes of a server's infinities: their marks, moved from the year 2000 to 1970, run over.
_MOMENTS: Final = (-9_222_425_352_054_775_809, -9_222_425_352_054_775_808)
_FIRST, _LAST = -62_135_596_800_000_000, 253_402_300_799_999_999
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
_DAYS: Final = (-2_147_472_692, -2_147_472_691)
# Behind the end of any time as text.
_END: Final = 64
# Of its own accord the writer takes 1,024 rows at a time.
_TOGETHER: Final = 16_384


def finite(column: Any) -> Any:
    """Infinities, NaN and what lies outside the years 1 to 9999 become null."""
    kind = column.type
    if pyarrow.types.is_floating(kind):
        fine = pc.is_finite(column)
    elif pyarrow.types.is_timestamp(kind) or pyarrow.types.is_date32(kind):
        fine = _in_calendar(column)
    else:
        return column
    return column if pc.all(fine).as_py() is not False else pc.if_else(fine, column, None)


def _in_calendar(column: Any) -> Any:
    days = pyarrow.types.is_date32(column.type)
    raw = column.view(pyarrow.int32() if days else pyarrow.int64())
    first, last = (_FIRST_DAY, _LAST_DAY) if days else (_FIRST, _LAST)
    return pc.and_(pc.greater_equal(raw, first), pc.less_equal(raw, last))


def without_secrets(column: Any, redactor: Redactor) -> Any:
    """Texts of a batch in which a secret shows; numbers are sent by rows where a secret may show in them."""
    if pyarrow.types.is_string(column.type):
        clean = [None if value is None else redactor.in_text(value) for value in column.to_pylist()]
        return pyarrow.array(clean, type=column.type)
    return column


def _moments(column: Any) -> Any:
    """As the JSON has them: no fraction where it is nought, `Z` where there is a zone.

    Of bytes, which are cut several times faster than texts: all of these years have four digits.
    """
    plain = column.cast(pyarrow.timestamp("us"))
    try:
        texts = pc.cast(pc.cast(plain, pyarrow.timestamp("s")), pyarrow.string()).view(pyarrow.binary())
    except pyarrow.ArrowInvalid:
        texts = pc.cast(plain, pyarrow.string()).view(pyarrow.binary())
        whole = pc.ends_with(texts, b".000000")
        if pc.any(whole).as_py():
            texts = pc.if_else(whole, pc.binary_slice(texts, 0, 19), texts)
    texts = pc.binary_replace_slice(texts, 10, 11, b"T")
    if column.type.tz:
        texts = pc.binary_replace_slice(texts, _END, _END, b"Z")
    return texts.view(pyarrow.string())


def _infinite(column: Any, texts: Any) -> Any:
    days = pyarrow.types.is_date32(column.type)
    raw = column.view(pyarrow.int32() if days else pyarrow.int64())
    above, below = _DAYS if days else _MOMENTS
    texts = pc.if_else(pc.equal(raw, above), "infinity", texts)
    return pc.if_else(pc.equal(raw, below), "-infinity", texts)


def _texts(column: Any) -> Any:
    first = pc.binary_slice(column.view(pyarrow.binary()), 0, 1)
    risky = pc.is_in(first, value_set=pyarrow.array(_FORMULA, pyarrow.binary()))
    if not pc.any(risky).as_py():
        return column
    risky = pc.and_(risky, pc.invert(pc.match_substring_regex(column, _HARMLESS)))
    return pc.if_else(risky, pc.binary_join_element_wise("'", column, ""), column)


def cells(column: Any) -> Any:
    """A column as CSV shows it."""
    kind = column.type
    if pyarrow.types.is_string(kind):
        return _texts(column)
    known = finite(column)
    if pyarrow.types.is_timestamp(kind):
        shown = _moments(known)
    elif pyarrow.types.is_date32(kind):
        shown = known.cast(pyarrow.string())
    else:
        return known
    return shown if known is column else _infinite(column, shown)


def lines(columns: Sequence[Any]) -> bytes:
    """Columns of cells as CSV, without a header; texts stand in quotes."""
    names = [str(place) for place in range(len(columns))]
    written = pyarrow.BufferOutputStream()
    options = csv.WriteOptions(include_header=False, batch_size=_TOGETHER)
    csv.write_csv(pyarrow.RecordBatch.from_arrays(columns, names=names), written, options)
    return bytes(written.getvalue())


def shows(columns: Sequence[Any], batch: Any, redactor: Redactor) -> bool:
    """Whether the cells of a batch may hold a secret. Where none can hide in digits only texts need a look."""
    if redactor.numeric:
        return True
    known = [column.type for column in batch.columns]
    if not all(pyarrow.types.is_string(kind) or pyarrow.types.is_primitive(kind) for kind in known):
        return True
    texts = [column for column, kind in zip(columns, known, strict=True) if pyarrow.types.is_string(kind)]
    return any(redactor.shows(_joined(column)) for column in texts)


def without_shown(shown: Any, column: Any, redactor: Redactor) -> Any:
    """Cells of a number or a time in which a secret shows: hidden as a whole, as a row hides them."""
    if pyarrow.types.is_string(column.type):
        return shown
    texts = shown.cast(pyarrow.string()).to_pylist()
    hidden = [text is not None and redactor.in_text(text) != text for text in texts]
    if not any(hidden):
        return shown
    found = [REDACTED if hide else text for text, hide in zip(texts, hidden, strict=True)]
    return pyarrow.array(found, type=pyarrow.string())


def _joined(column: Any) -> bytes:
    """The texts of a column, one behind the other."""
    _, offsets, data = column.buffers()
    if data is None:
        return b""
    ends = memoryview(offsets).cast("i")
    return memoryview(data)[ends[column.offset] : ends[column.offset + len(column)]].tobytes()
