#!/usr/bin/env python3
"""Prints 'tests: N passed, N failed, N skipped' for a JUnit file that ctest wrote, counting programs."""
import sys
import xml.etree.ElementTree as ElementTree

suite = ElementTree.parse(sys.argv[1]).getroot()
total, failed = int(suite.get("tests")), int(suite.get("failures"))
skipped = int(suite.get("skipped", 0)) + int(suite.get("disabled", 0))
print(f"tests: {total - failed - skipped} passed, {failed} failed, {skipped} skipped")
sys.exit(failed > 0)
