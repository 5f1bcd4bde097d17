"""Write the results into README.md and benchmarks/README.md, and draw them.

    python benchmarks/report.py [--readme NAME]

Reads benchmarks/results/*.json and nothing else. README.md gets the short form of one file (the
newest, or NAME), benchmarks/README.md the long form of each, between <!-- measured --> and
<!-- /measured -->; the pictures go to benchmarks/plots.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import tables

HERE = Path(__file__).parent
START, END = "<!-- measured -->", "<!-- /measured -->"


def replace_between(text: str, new: str) -> str:
    """`text` with `new` between its two markers."""
    head, start, rest = text.partition(START)
    _, end, tail = rest.partition(END)
    if not start or not end:
        raise ValueError(f"expected {START} and {END}")
    return f"{head}{START}\n\n{new.strip()}\n\n{END}{tail}"


def load(folder: Path) -> list[dict]:
    """The results files, newest first."""
    files = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    return sorted(files, key=lambda data: data["date"], reverse=True)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--readme", metavar="NAME", help="results file for README.md")
    parser.add_argument("--root", type=Path, default=HERE.parent, help="repository")
    parser.add_argument("--no-plots", action="store_true")
    options = parser.parse_args(argv)
    folder = options.root / "benchmarks"
    found = load(folder / "results")
    if not found:
        print(f"no results in {folder / 'results'}: run compare.py first", file=sys.stderr)
        return 1
    chosen = next((d for d in found if options.readme in (None, d["name"])), None)
    if chosen is None:
        print(f"--readme: no results named {options.readme}", file=sys.stderr)
        return 1
    pages = {
        options.root / "README.md": tables.readme(chosen),
        folder / "README.md": "\n".join(map(tables.everything, found)),
    }
    code = 0
    for page, text in pages.items():
        try:
            page.write_text(replace_between(page.read_text(), text))
        except (OSError, ValueError) as error:
            print(f"{page.name}: {error}", file=sys.stderr)
            code = 1
    if not options.no_plots:
        from plots import draw

        for data in found:
            for path in draw(data, folder / "plots"):
                print("drawn:", path.name)
    return code


if __name__ == "__main__":
    sys.exit(main())
