"""Makes grader_cases and disagreements, which scripts share, importable by the tests beside them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
