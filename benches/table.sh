#!/usr/bin/env bash
# Prints the table of the benchmarks, and nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo bench --quiet --bench scale | grep '^|'
cargo bench --quiet --bench cluster | grep '^| ('
cargo bench --quiet --bench review | grep '^| ('
