"""Make docs/page.png: the page of a sample log, as a browser shows it. It needs Chromium.

python docs/make_page_screenshot.py [-o docs/page.png] [--dark]
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
SAMPLE = REPOSITORY / "sample_oopses" / "x86_64" / "p-null_deref.log"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SIZE = "960,720"

#: The report is all that is shown of the log: from here to the end.
BEGIN = b"### LAB start p-null_deref\r\n"


def main() -> int:
    """Write the picture; return the exit status."""
    parser = argparse.ArgumentParser(description="Make the picture of the page.")
    parser.add_argument("-o", "--output", default=str(REPOSITORY / "docs" / "page.png"))
    parser.add_argument("--dark", action="store_true", help="as it looks where dark pages are preferred")
    options = parser.parse_args()
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.stderr.write(f"make_page_screenshot.py: expected one of {', '.join(BROWSERS)}, found none\n")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        log, page = Path(folder, "crash.log"), Path(folder, "crash.html")
        log.write_bytes(SAMPLE.read_bytes().partition(BEGIN)[2])
        table = str(next(SAMPLE.parent.glob("*.lineinfo")).relative_to(REPOSITORY))
        command = [
            sys.executable,
            "-m",
            "annotate",
            "--triage",
            "--format",
            "html",
            "-k",
            table,
            "-m",
            str(SAMPLE.parent.relative_to(REPOSITORY)),
            str(log),
        ]
        html = subprocess.run(command, check=True, capture_output=True, cwd=REPOSITORY).stdout
        # One chain is shown open.
        page.write_bytes(html.replace(str(log).encode(), b"crash.log").replace(b"<details>", b"<details open>", 1))
        subprocess.run(
            [
                *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                *(f"--user-data-dir={folder}/profile", f"--window-size={SIZE}", f"--screenshot={options.output}"),
                *(("--blink-settings=preferredColorScheme=0",) if options.dark else ()),
                page.as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
