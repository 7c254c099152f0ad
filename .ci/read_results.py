"""Say which files of tests took the longest, and fail on any skipped test that is not on the list: a suite that skips is not green."""

import sys
import xml.etree.ElementTree as ElementTree  # the file is pytest's own
from collections import defaultdict

ALLOWED: set[str] = {
    "needs a CUDA GPU",
    "MEDKD_SHARED is not set: no real data here",
    "no right to mount a small disk here",
    "this CPU does not compute in bfloat16",
}
SHOWN = 25

cases = [case for path in sys.argv[1:] for case in ElementTree.parse(path).iter("testcase")]
seconds: defaultdict[str, float] = defaultdict(float)
for case in cases:
    seconds[case.get("classname", "?")] += float(case.get("time", 0))
for name, took in sorted(seconds.items(), key=lambda one: -one[1])[:SHOWN]:
    print(f"{took:6.0f} s  {name}")
skipped = {case.get("name", "?"): mark.get("message", "") for case in cases for mark in case.iter("skipped")}
strange = {name: reason for name, reason in skipped.items() if reason not in ALLOWED}
print(f"{len(skipped)} skipped, {len(strange)} of them not on the list")
for name, reason in strange.items():
    print(f"  {name}: {reason}")
sys.exit(1 if strange else 0)
