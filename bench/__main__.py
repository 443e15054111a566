"""`python -m bench [--peers | NAME …]`: run all benchmarks, those that need a peer's venv, or the named ones."""

import sys

from bench.harness import benchmarks


def main(wanted: list[str]) -> int:
    """Print a line per figure; 2 for an unknown name. A missed target is a line that says so, not a failure."""
    of_peers = "--peers" in wanted
    wanted = [name for name in wanted if name != "--peers"]
    known = benchmarks()
    unknown = [name for name in wanted if name not in known]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(sorted(known))}", file=sys.stderr)
        return 2
    for name in wanted or sorted(benchmarks(peers=of_peers)):
        for result in known[name]():
            print(result.line(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
