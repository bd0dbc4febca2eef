"""Cases that nobody of this project wrote, judged by the judges that came with them."""

import json
import re
import subprocess
import sys

import pytest

from harness import REPO

VECTORS = REPO.parent / "shared" / "vectors"


@pytest.mark.parametrize("judge, least", [("ignore", 291), ("refs", 22), ("parser", 549), ("words", 338)])
def test_every_open_case_of_a_text_vector_passes(binary, judge, least):
    program = VECTORS / "judge" / f"{judge}.py"
    if not program.is_file():
        pytest.skip(f"no judge '{program.name}' in {VECTORS}")
    done = subprocess.run([sys.executable, str(program), "--vectors", str(VECTORS),
                           "--lighter", str(binary)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    counts = re.findall(r"^(\w+): (\d+) of (\d+)$", done.stdout, re.M)
    assert counts and counts[-1][0] == judge, done.stdout
    assert all(same == judged for _, same, judged in counts), done.stdout
    assert int(counts[-1][2]) >= least, done.stdout
    assert done.returncode == 0, done.stdout


def test_every_instruction_error_of_the_reference_is_told_in_its_words(bare):
    cases = VECTORS / "instruction-errors.jsonl"
    if not cases.is_file():
        pytest.skip(f"no instruction-errors.jsonl in {VECTORS}")
    judged = [json.loads(line) for line in cases.read_text().splitlines()]
    for case in judged:
        refused = bare.run_in(f"FROM scratch\n{case['instruction']}\n", code=3)
        assert f"<stdin>:2:1: {case['error']}" in refused.error or \
            re.search(rf"<stdin>:2:\d+: {re.escape(case['error'])}", refused.error), (case, refused)
    assert len(judged) >= 9
