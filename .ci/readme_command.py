"""Print one of the README's commands: the fenced block after `<!-- command: NAME -->`."""

import re
import sys
from pathlib import Path

name = sys.argv[1]
readme = Path(__file__).resolve().parents[1] / "README.md"
pattern = rf"<!-- command: {re.escape(name)} -->\s*```(?:bash|sh)\n(.*?)```"
found = re.search(pattern, readme.read_text(encoding="utf-8"), re.DOTALL)
if not found:
    sys.exit(f"README.md has no command named {name!r}")
sys.stdout.write(found.group(1))
