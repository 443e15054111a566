"""The lists of functions, read once from the files beside this module, and what no list may ever hold."""

import re
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final

from services.query_executor.guard.lists import sections
from services.query_executor.statement import Engine

PLAIN: Final = re.compile(r"[a-z0-9_]+")

# Reads files, runs SQL or a relation named in a string, waits, locks, writes, talks to others, tells of others.
_NEVER_POSTGRES: Final = (
    r"pg_(?:read|ls|stat|sleep|advisory|try_advisory|terminate|cancel|notify|logical|replication|create|drop|copy|wal|"
    r"switch|rotate|reload|promote|backup|start_backup|stop_backup|export|import|log|restore|clear|file|hba|ident|show|"
    r"current_logfile|config|sync|get_replication|prewarm|buffercache|execute|lock|nextoid|stop|sequence_last|"
    r"extension_config|isolation|read_binary|event)_?\w*|pg_catalog|pgrowlocks|pgstat\w*|pageinspect\w*|get_raw_page|"
    r"lo_\w*|loread|lowrite|dblink\w*|postgres_fdw\w*|file_fdw\w*|adminpack\w*|binary_upgrade\w*|brin_\w+|gin_\w+|"
    r"set_config|current_setting|setval|nextval|currval|lastval|setseed|txid_current|current_query|currtid\w*|"
    r"(?:query|table|schema|database|cursor)_to_xml\w*|ts_stat|ts_rewrite|xpath_table|xslt_process|crosstab\w*|connectby|"
    r"normal_rand|http\w*|urlencode_http|net\.\w+|plv8\w*|aws_(?:s3|lambda)\w*|cron\w*|sys_exec|sys_eval|copy\w*|"
    r"create_\w+|drop_\w+|add_\w+policy|run_job|alter_job|undo_\w+|execute\w*|exec|shell"
)
_NEVER_MYSQL: Final = (
    r"sleep|benchmark|load_file|get_lock|release_lock|release_all_locks|is_free_lock|is_used_lock|nextval|setval|lastval|"
    r"last_insert_id|master_\w+|source_\w+|wait_\w+|sys_(?:exec|eval|get|set)|lib_mysqludf\w*|gtid_\w+|keyring_\w+|"
    r"audit_\w+|group_replication\w*|asynchronous_\w+|service_\w+|mysql_\w+|ps_\w+|analyse|procedure|name_const|"
    r"des_encrypt|des_decrypt|old_password|load_\w+|set_\w+|wsrep\w*|spider\w*|read_firewall\w*|http\w*|mask_\w+|gen_\w+"
)
_NEVER_CLICKHOUSE: Final = (
    r"file(?:cluster|system\w*)?|s3\w*|gcs|oss|cosn|url|urlcluster|remote\w*|mysql|postgresql|mongodb|redis|sqlite|jdbc|"
    r"odbc|hdfs\w*|azureblobstorage\w*|iceberg(?!hash\b)\w*|deltalake\w*|hudi\w*|paimon\w*|bigquery|arrowstream|arrowflight|"
    r"ytsaurus|input|infile|cluster\w*|merge|mergetree\w*|executable\w*|dictionary|dict(?:get|has|isin)\w*|joinget\w*|"
    r"sleep\w*|loop|eval|python|chdb|fuzz\w+|generaterandom\w*|getsetting\w*|getserver\w*|getmergetree\w*|getmacro|"
    r"getclient\w*|getmaxtable\w*|globalvariable|hascolumnintable|catboost\w*|modelevaluate|evalmlmethod|ai[a-z]+|"
    r"prometheus\w*|timeseries(?:data|metrics|tags|samples|selector|metricfamilies)|zookeeper\w*|reversedns\w*|logtrace|"
    r"address\w*|demangle|showcertificate|hostname|fullhostname|fqdn|viewifpermitted|viewexplain|throwif|aggthrow|"
    r"currentrequesturl|currenthandler|flamegraph"
)
_NEVER: Final = MappingProxyType(
    {
        engine: re.compile(f"(?:{pattern})")
        for engine, pattern in {
            Engine.POSTGRES: _NEVER_POSTGRES,
            Engine.INTERNAL: _NEVER_POSTGRES,
            Engine.REDSHIFT: f"{_NEVER_POSTGRES}|explain_model|cancel\\w*|unload|ml_\\w+|query_external\\w*",
            Engine.MYSQL: _NEVER_MYSQL,
            Engine.CLICKHOUSE: _NEVER_CLICKHOUSE,
        }.items()
    }
)
# What specification and common sense name as dangerous, whatever the server.
_NEVER_ANYWHERE: Final = frozenset({"pg_sleep", "sleep", "load_file", "benchmark", "set_config", "sleepeachrow"})
# The chain behind an aggregate of ClickHouse: sumIf, uniqArrayMerge.
_COMBINATOR: Final = re.compile(
    r"(?:if|array|map|simplestate|state|merge|mergestate|foreach|distinct|ordefault|ornull|resample|argmin|argmax|tuple|"
    r"null)\Z"
)


@dataclass(frozen=True, slots=True)
class Functions:
    """What an engine may call: `scalar` anywhere, `aggregates` with combinators, `tables` in place of a table.
    `lambdas` are those of them that take a function first."""

    scalar: frozenset[str]
    aggregates: frozenset[str]
    tables: frozenset[str]
    lambdas: frozenset[str]

    def allow(self, name: str) -> bool:
        """Whether the lists hold `name`, in lower case, or an aggregate with combinators."""
        return name in self.scalar or self._aggregate(name)

    def _aggregate(self, name: str) -> bool:
        while name not in self.aggregates:
            match = _COMBINATOR.search(name)
            if not match or not self.aggregates or not match.start():
                return False
            name = name[: match.start()]
        return True


def never(engine: Engine, name: str) -> bool:
    """Whether no setting of a secret can allow this function."""
    return name in _NEVER_ANYWHERE or bool(_NEVER[engine].fullmatch(name))


@cache
def functions(engine: Engine) -> Functions:
    """The lists of an engine. The tenant's own schema has no functions that take a relation by name."""
    file = "postgres" if engine is Engine.INTERNAL else engine.value
    lists = sections(file)
    hidden = {"catalogue"} if engine is Engine.INTERNAL else set()
    plain = (words for name, words in lists.items() if name not in {"aggregates", "tables"} | hidden)
    return Functions(
        frozenset[str]().union(*plain),
        lists.get("aggregates", frozenset()),
        lists.get("tables", frozenset()),
        lists.get("lambdas", frozenset()),
    )
