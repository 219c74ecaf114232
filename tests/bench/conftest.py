"""Makes what tests and scripts of this folder share importable by the tests: made, grader_cases, disagreements."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
