#!/usr/bin/env bash
# One reader of four more stops reading, in three ways: what the others get and what memory it costs.
BUILD=${KOGGE_BUILD_DIR:-$(cd "$(dirname "$0")/../.." && pwd)/build}
exec "$BUILD/tests/bench-streams" "$BUILD/bench/streams.json"
