"""The last line of .ci/run: tests of all runs and checks, in pytest's words. Exit code 1 if anything failed.

    count.py RESULTS STEPS FAILED SECONDS     RESULTS holds the junit files of the runs
"""

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path


def counts(results):
    """(tests, failed, skipped) over the junit files."""
    total = [0, 0, 0]
    for path in sorted(Path(results).glob("*.xml")):
        for suite in ElementTree.parse(path).getroot().iter("testsuite"):
            wrong = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            total = [
                total[0] + int(suite.get("tests", 0)), total[1] + wrong, total[2] + int(suite.get("skipped", 0))
            ]  # fmt: skip
    return total


def main(results, steps, failed_steps, seconds):
    tests, failed, skipped = counts(results)
    steps, failed_steps = int(steps), int(failed_steps)
    passed = tests - failed - skipped
    words = [f"{failed} failed"] if failed else []
    words += [f"{passed} passed", f"{skipped} skipped"]
    print(f"checks: {steps - failed_steps} of {steps} passed")
    print(f"===== {', '.join(words)} in {seconds}s =====")
    if not tests:
        print("no test ran")
    return 1 if failed or failed_steps or not tests else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
