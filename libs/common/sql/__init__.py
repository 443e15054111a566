"""One statement of a query log: its text without literals, its tables, its columns.

Pure, without I/O, for all dialects that query logs come in. The text comes from a lexer of our own
and holds for any input; tables and columns come from sqlglot, or, where it refuses a statement, from
the words (tables only).

*Tables* are all real tables that a statement names, those it writes to included (an INSERT's target
and the table that CREATE TABLE AS or CREATE VIEW makes are references too). No tables are: names of
CTEs within their scope, aliases, table functions, stages and files, temporary tables (`pg_temp.x`,
`#x`, the target of CREATE TEMPORARY TABLE), DUAL, and what DROP SCHEMA, CREATE FUNCTION and the like name.

*Columns* are those that a qualifier or a single source places: `o.total` in `orders o`, any name in
a SELECT over one table, and through `SELECT *` of a CTE or subquery over one table. In a join an
unqualified column is left out. `*` names none.
"""

from libs.common.sql.analysis import analyse, pattern_id
from libs.common.sql.dialects import Dialect
from libs.common.sql.names import ColumnRef, DefaultNames, TableName, fold, matches
from libs.common.sql.patterns import Analysis, anonymise
from libs.common.sql.system import is_catalog
from libs.common.sql.written import parse_table_name

__all__ = [
    "Analysis",
    "ColumnRef",
    "DefaultNames",
    "Dialect",
    "TableName",
    "analyse",
    "anonymise",
    "fold",
    "is_catalog",
    "matches",
    "parse_table_name",
    "pattern_id",
]
