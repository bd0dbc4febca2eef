"""Cases that nobody of this project wrote, judged by the judges that came with them."""

import re
import subprocess
import sys

import pytest

from harness import REPO

VECTORS = REPO.parent / "shared" / "vectors"


@pytest.mark.parametrize("judge, least", [("ignore", 291), ("refs", 22)])
def test_every_open_case_of_a_text_vector_passes(binary, judge, least):
    program = VECTORS / "judge" / f"{judge}.py"
    if not program.is_file():
        pytest.skip(f"no judge '{program.name}' in {VECTORS}")
    done = subprocess.run([sys.executable, str(program), "--vectors", str(VECTORS),
                           "--lighter", str(binary)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    last = re.fullmatch(rf"{judge}: (\d+) of (\d+)", done.stdout.splitlines()[-1])
    assert last, done.stdout
    assert last[1] == last[2] and int(last[2]) >= least, done.stdout
    assert done.returncode == 0, done.stdout
