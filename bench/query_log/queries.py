"""Queries as charts, models, analysts and applications write them."""

from bench.query_log.pieces import COLUMNS, Pieces, Table


def query(of: Pieces) -> str:
    """A query of any shape."""
    forms = [_listing, _grouped, _with, _ranked, _wrapped, _union, _lookup]
    return of.draw.choices(forms, (18, 30, 8, 8, 7, 4, 25))[0](of)


def _items(of: Pieces, tables: list[Table], least: int, most: int) -> str:
    return ",\n  ".join(_item(of, tables, at) for at in range(of.draw.randint(least, most)))


def _item(of: Pieces, tables: list[Table], at: int) -> str:
    if of.chance(0.3):
        return f"{of.filled(of.draw.choice(of.flavour.expressions), tables)} AS value_{at}"
    return of.column(tables, of.draw.choice("iccnd"))


def _listing(of: Pieces) -> str:
    tables = of.tables()
    head = "SELECT DISTINCT" if of.chance(0.1) else "SELECT"
    return f"{head} {_items(of, tables, 2, 8)}\n{of.sources(tables)}\n{of.where(tables)}{_end(of, tables)}"


def _end(of: Pieces, tables: list[Table]) -> str:
    text = f"\nORDER BY {of.column(tables, 'd')} DESC" if of.chance(0.6) else ""
    if of.flavour.tails and of.chance(0.1):
        return text + "\n" + of.filled(of.draw.choice(of.flavour.tails), tables)
    return text + ("\nLIMIT \x01n\x02" if of.chance(0.75) else "")


def _grouped(of: Pieces) -> str:
    return _over(of, of.tables())


def _over(of: Pieces, tables: list[Table]) -> str:
    keys = [of.filled(of.flavour.month, tables)] if of.chance(0.45) else []
    keys += [of.column(tables, "c") for _ in range(of.draw.randint(1, 3))]
    items = [f"{key} AS key_{at}" for at, key in enumerate(keys)]
    items += [f"{_aggregate(of, tables)} AS metric_{at}" for at in range(of.draw.randint(1, 4))]
    by = ", ".join(str(at + 1) for at in range(len(keys))) if of.chance(0.5) else ", ".join(keys)
    listed = ",\n  ".join(items)
    text = f"SELECT {listed}\n{of.sources(tables)}\n{of.where(tables)}\nGROUP BY {by}"
    if of.chance(0.25):
        text += f"\nHAVING {_aggregate(of, tables)} > \x01i\x02"
    if of.chance(0.6):
        text += f"\nORDER BY {of.draw.choice(['metric_0 DESC', 'key_0', '1'])}"
    return text + ("\nLIMIT \x01n\x02" if of.chance(0.5) else "")


def _aggregate(of: Pieces, tables: list[Table]) -> str:
    return of.filled(of.draw.choice(of.flavour.aggregates), tables)


def _with(of: Pieces) -> str:
    names = of.draw.sample(
        ["base", "recent", "filtered", "daily", "ranked_rows", "totals"], of.draw.choice([1, 1, 2, 3])
    )
    bodies = [_over(of, [of.table(1)]) if of.chance(0.7) else _grouped(of) for _ in names]
    first, *others = names
    text = "WITH " + ",\n".join(f"{name} AS (\n{body}\n)" for name, body in zip(names, bodies, strict=True))
    text += f"\nSELECT {first}.key_0, {first}.metric_0" + "".join(f", {name}.metric_0 AS {name}_0" for name in others)
    if of.chance(0.4):
        frame = "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"
        text += f", SUM({first}.metric_0) OVER (ORDER BY {first}.key_0 {frame}) AS running"
    text += f"\nFROM {first}" + "".join(f"\nLEFT JOIN {name} ON {name}.key_0 = {first}.key_0" for name in others)
    if of.chance(0.3):
        table = of.table(5)
        text += f"\nJOIN {of.named(table)} ON {table.alias}.{of.draw.choice(COLUMNS['c'])} = {first}.key_0"
    return text + f"\nWHERE {first}.metric_0 > \x01i\x02\nORDER BY 2 DESC\nLIMIT \x01n\x02"


def _ranked(of: Pieces) -> str:
    tables = of.tables(most=3)
    window = f"PARTITION BY {of.column(tables, 'i')} ORDER BY {of.column(tables, 'd')} DESC"
    rest = f"{of.sources(tables)}\n{of.where(tables, 1, 3)}"
    if of.flavour.qualify and of.chance(0.5):
        return f"SELECT {_items(of, tables, 2, 6)}\n{rest}\nQUALIFY ROW_NUMBER() OVER ({window}) = 1"
    number = of.column(tables, "n")
    call = of.draw.choice(["ROW_NUMBER()", "RANK()", f"LAG({number}, \x01n\x02)", f"SUM({number})"])
    inner = f"SELECT {_items(of, tables, 2, 6)},\n  {call} OVER ({window}) AS row_position\n{rest}"
    return f"SELECT *\nFROM (\n{inner}\n) AS latest\nWHERE latest.row_position <= \x01n\x02"


def _wrapped(of: Pieces) -> str:
    """A chart over a virtual dataset, as BI tools write it."""
    chosen = "WHERE key_0 IN (\x01b\x02)\n" if of.chance(0.5) else ""
    head = f"SELECT key_0 AS key_0, SUM(metric_0) AS total\nFROM (\n{_grouped(of)}\n) AS virtual_table\n"
    return f"{head}{chosen}GROUP BY key_0\nORDER BY total DESC\nLIMIT \x01n\x02"


def _union(of: Pieces) -> str:
    return "\nUNION ALL\n".join(_branch(of) for _ in range(of.draw.randint(2, 3)))


def _branch(of: Pieces) -> str:
    tables = [of.table(1)]
    items = f"\x01s\x02 AS origin, {of.column(tables, 'c')} AS label, {of.column(tables, 'n')} AS amount"
    return f"SELECT {items}\n{of.sources(tables)}\n{of.where(tables, 1, 2)}"


def _lookup(of: Pieces) -> str:
    """What applications send: short, by key."""
    names = of.draw.sample(COLUMNS["c"] + COLUMNS["n"] + COLUMNS["i"], of.draw.randint(1, 8))
    items = "*" if of.chance(0.3) else ", ".join(names)
    rest = ["", " LIMIT 1", f" AND {of.draw.choice(COLUMNS['c'])} = \x01s\x02"]
    key = of.draw.choice(COLUMNS["i"])
    return f"SELECT {items} FROM {of.table().path} WHERE {key} = \x01i\x02{of.draw.choice(rest)}"
