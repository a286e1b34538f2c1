"""Prints the tests that a run skipped because a module was not installed, one node id per line.

skipped.py RESULT.xml
"""

import sys
import xml.etree.ElementTree as ElementTree


def main(result):
    for case in ElementTree.parse(result).getroot().iter("testcase"):
        skipped = case.find("skipped")
        if skipped is not None and "could not import" in skipped.get("message", ""):
            print(f"{case.get('classname').replace('.', '/')}.py::{case.get('name')}")


if __name__ == "__main__":
    main(sys.argv[1])
