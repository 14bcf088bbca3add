#!/usr/bin/env bash
# 1,000 swaps between two builds of a service that answers 100,000 requests a second of several senders.
BUILD=${KOGGE_BUILD_DIR:-$(cd "$(dirname "$0")/../.." && pwd)/build}
exec "$BUILD/tests/bench-swap" "$BUILD/bench/swap.json"
