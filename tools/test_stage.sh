#!/bin/sh
# Runs one stage of the tests and keeps its result for the closing summary.
# usage: tools/test_stage.sh NAME PYTEST_ARGUMENT...
set -eu

name=$1
shift
mkdir -p .reports
rm -f ".reports/$name.xml"
exec .venv/bin/python -m pytest -q "--junitxml=.reports/$name.xml" "$@"
