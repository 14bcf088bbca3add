#!/usr/bin/env bash
# Round trips over the bus beside ZeroMQ alone: same lane, across lanes, ipc, tcp, tcp with CURVE; 64 B to 64 KB.
BUILD=${KOGGE_BUILD_DIR:-$(cd "$(dirname "$0")/../.." && pwd)/build}
exec "$BUILD/tests/bench-bus" "$BUILD/bench/bus.json"
