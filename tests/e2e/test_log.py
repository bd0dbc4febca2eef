"""`lighter log`: what builds leave behind, and what of it is kept. docs/progress.md is what is promised."""

import json
import os
import re
import signal
import sqlite3
import statistics
import subprocess
import time

import pytest

from harness import end_process, wait_for
from test_lighter_run import Screen as RunScreen

THREE = "FROM busybox\nRUN echo one; echo two >&2\nRUN true\nRUN echo made >/made; echo three\n"


def log(lighter, *words, **options):
    return lighter("log", *words, **options)


def builds(lighter, *words):
    return [json.loads(line) for line in log(lighter, "--format", "json", *words).stdout.splitlines()]


def build(lighter, text, *words, **options):
    return lighter.build(lighter.context({"Dockerfile": text}), *words, **options)


def running(lighter, text, *words):
    """A build whose step has printed "begun"."""
    child = lighter.start("build", "--isolation", lighter.isolation, *words, lighter.context({"Dockerfile": text}))
    for line in child.stderr:
        if b"| begun" in line:
            return child
    raise AssertionError("the build ended before its step began")


def files(lighter, name):
    top = lighter.store / name
    return sorted(path.name for path in top.iterdir()) if top.is_dir() else []


# ---- what there is -------------------------------------------------------------------------------

def test_every_build_leaves_a_record_newest_first(lighter):
    good = build(lighter, THREE, "--target", "stage", tag="app:v1", code=None)
    good = build(lighter, THREE, tag="app:v1")
    build(lighter, "FROM busybox\nRUN exit 3\nRUN true\n", code=1)
    build(lighter, "FRO busybox\n", code=3)
    child = running(lighter, "FROM busybox\nRUN echo begun; sleep 60\n")
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=20)
    build(lighter, THREE, tag="app:v1")
    seen = builds(lighter)
    assert [b["state"] for b in seen] == ["done", "cancelled", "failed", "failed", "done", "failed"]
    assert [b["exit_code"] for b in seen] == [0, 130, 3, 1, 0, 3]
    assert [(b["count"]["HIT"], b["count"]["RAN"]) for b in seen] == [(4, 0), (1, 0), (0, 0), (1, 0), (1, 3), (0, 0)]
    assert seen[3]["count"]["FAILED"] == seen[3]["count"]["SKIPPED"] == 1
    assert seen[0]["image"] == seen[4]["image"] == good.id
    assert seen[0]["names"] == ["docker.io/library/app:v1"] and seen[0]["dockerfile"] == "Dockerfile"
    assert "exit code 3" in seen[3]["error"] and "FRO" in seen[2]["error"] and seen[5]["target"] == "stage"
    assert sorted((b["began_ms"] for b in seen), reverse=True) == [b["began_ms"] for b in seen]
    table = log(lighter).stdout.splitlines()
    assert table[0].split() == ["BUILD", "STARTED", "TOOK", "RESULT", "STEPS", "IMAGE"]
    assert [row.split()[0] for row in table[1:]] == [b["id"] for b in seen]
    assert re.search(r"done +4: 4 HIT +app:v1$", table[1]) and re.search(r"failed \(1\) +3: 1 HIT, 1 FAILED, 1 SKIPPED ", table[4])
    assert len(builds(lighter, "-n", "2")) == 2 and len(log(lighter, "-n", "2").stdout.splitlines()) == 3


def test_a_build_is_shown_with_its_steps_and_times(lighter):
    context = lighter.context({"Dockerfile": THREE})
    done = lighter.build(".", tag="app", cwd=context)
    shown = builds(lighter, "^0")[0]
    assert shown["context"] == str(context)
    steps = shown["steps"]
    assert [s["step"] for s in steps] == [1, 2, 3, 4] and [s["how"] for s in steps] == ["HIT", "RAN", "RAN", "RAN"]
    assert [s["kind"] for s in steps] == ["from", "run", "run", "run"]
    assert steps[1]["title"] == "RUN echo one; echo two >&2" and steps[1]["stage"] == "stage-0 2/4"
    assert all(0 < s["seconds"] < shown["seconds"] for s in steps[1:])
    assert steps[1]["at"] < steps[2]["at"] < steps[3]["at"]
    assert all(re.fullmatch("[0-9a-f]{64}", s["key"]) for s in steps[1:])
    page = log(lighter, "^0").stdout
    assert re.search(r"^Result: +done$", page, re.M) and done.id in page
    assert re.search(r"^ +2 +RAN +[\d.]+ s +[\d.]+ s +8 B +\[stage-0 2/4\] RUN echo one", page, re.M)


def test_all_that_a_step_printed_is_there_whoever_ran_it(lighter):
    build(lighter, THREE)
    for _ in range(3):
        assert not build(lighter, THREE).ran
    for which in ("^0", "^2", "^3"):
        assert log(lighter, which, "2").stdout == "one\ntwo\n"
        assert log(lighter, which, "stage-0 4/4").stdout == "three\n"
        silent = log(lighter, which, "3")
        assert silent.stdout == "" and "nothing is kept that step 3 printed" in silent.stderr
    build(lighter, THREE, "--no-cache")
    assert len(files(lighter, "logs")) == 4
    assert log(lighter, "^4", "2").stdout == "one\ntwo\n"


def test_equal_steps_of_one_build_have_one_log(lighter):
    build(lighter, "FROM busybox AS a\nRUN echo same; sleep 0.2\nFROM busybox AS b\nRUN echo same; sleep 0.2\n"
                   "FROM busybox\nCOPY --from=a /etc/passwd /a\nCOPY --from=b /etc/passwd /b\n")
    assert len(files(lighter, "logs")) == 1
    assert log(lighter, "^0", "a 2/2").stdout == log(lighter, "^0", "b 2/2").stdout == "same\n"


def test_a_log_is_never_clipped_and_takes_no_memory(lighter):
    text = "FROM busybox\nRUN head -c 50000000 /dev/urandom | tee /big | cat; md5sum /big | cut -c1-32 >&2\n"
    done = build(lighter, text, "--progress=none", watch=True)
    assert 0 < done.peak_kib <= 40 * 1024
    child = lighter.start("log", "^0", "2")
    out, _ = child.communicate(timeout=60)
    assert len(out) == 50000033
    assert subprocess.run(["md5sum"], input=out[:50000000], check=True, stdout=subprocess.PIPE).stdout[:32] == out[50000000:].strip()
    quiet = lighter("log", "^0", "2", stdout=subprocess.DEVNULL, watch=True)
    assert quiet.peak_kib <= 16 * 1024


def test_only_steps_that_print_have_a_file(lighter):
    build(lighter, "FROM busybox\nRUN true\nRUN echo x >/x\nCOPY Dockerfile /\nWORKDIR /a\n")
    assert files(lighter, "logs") == []
    child = lighter.start("build", "--isolation", lighter.isolation, lighter.context({"Dockerfile": "FROM busybox\nRUN sleep 0.6; echo begun; sleep 20\n"}))
    try:
        assert wait_for(lambda: b"RUN sleep 0.6" in child.stderr.readline())
        time.sleep(0.2)
        assert files(lighter, "logs") == []
        assert wait_for(lambda: files(lighter, "logs"))
    finally:
        end_process(child)


def test_the_path_in_a_failure_report_leads_to_the_whole_log(lighter):
    failed = build(lighter, "FROM busybox\nRUN seq 1 5000; exit 3\n", code=1)
    path = re.search(r"full log: (\S+)$", failed.error, re.M).group(1)
    assert path.startswith(str(lighter.store / "logs"))
    assert open(path).read() == "".join(f"{i}\n" for i in range(1, 5001)) == log(lighter, "^0", "2").stdout
    build(lighter, "FROM busybox\nRUN seq 1 5000; exit 3\n", code=1)
    assert os.path.exists(path), "another failure is another file"


def test_a_retried_step_does_not_show_the_output_of_its_failure(lighter):
    """The same step, first failing and then silent, within a second."""
    context = lighter.context()
    text = "FROM busybox\nRUN --mount=type=cache,id=flag,target=/c test -e /c/f || { touch /c/f; echo failed; exit 1; }\n"
    lighter.build(context, dockerfile=text, code=1)
    assert lighter.build(context, dockerfile=text).ran
    assert lighter.build(context, dockerfile=text).hit
    assert log(lighter, "^0", "2").stdout == log(lighter, "^1", "2").stdout == ""
    assert log(lighter, "^2", "2").stdout == "failed\n"


def test_a_log_on_a_terminal_does_not_steer_it_and_in_a_file_is_byte_for_byte(lighter):
    build(lighter, "FROM busybox\nRUN printf '\\033[2Jone\\007\\n\\377\\n'\n")
    child = lighter.start("log", "^0", "2")
    assert child.communicate()[0] == b"\033[2Jone\007\n\377\n"
    words = [lighter.binary, "log", "^0", "2"]
    screen = LogScreen(lighter, *words)
    assert screen.end() == 0
    assert "\033" not in screen.text and "\007" not in screen.text and "one\r\n" in screen.text


class LogScreen(RunScreen):
    """Any command under a terminal."""

    def __init__(self, lighter, *words):
        class Plain:
            binary, isolation, account, place = words[0], "auto", lighter.account, lighter.place
            environment = staticmethod(lighter.environment)

        original = subprocess.Popen

        def without_isolation(argv, **options):
            return original([*words], **options)

        subprocess.Popen = without_isolation
        try:
            super().__init__(Plain)
        finally:
            subprocess.Popen = original


# ---- which build ---------------------------------------------------------------------------------

def test_a_build_that_ended_before_most_of_its_steps_were_looked_at_is_shown(lighter):
    build(lighter, "FROM scratch\nCOPY missing /\n" + "".join(f"COPY f{i} /\n" for i in range(60)), code=3)
    assert "62: 1 HIT" in log(lighter, "^0").stdout
    assert [step["step"] for step in builds(lighter, "^0")[0]["steps"]] == [1]
    assert "no step '40'" in log(lighter, "^0", "40", code=2).error


def test_a_build_is_named_by_its_age_or_the_beginning_of_its_id(lighter):
    for i in range(3):
        build(lighter, f"FROM busybox\nENV n={i}\nRUN echo {i}\n")
    ids = [b["id"] for b in builds(lighter)]
    for i, word in enumerate(("^0", "^1", "^2")):
        assert log(lighter, word, "2").stdout == f"{2 - i}\n"
        assert builds(lighter, ids[i][:8])[0]["id"] == builds(lighter, word)[0]["id"] == ids[i]
    assert "there are 3 builds" in log(lighter, "^3", code=2).error
    assert "no build 'zz'" in log(lighter, "zz", code=2).error
    assert "expected ^1" in log(lighter, "^x", code=2).error
    assert "has no step '9'" in log(lighter, "^0", "9", code=2).error
    record = lighter.store / "builds" / files(lighter, "builds")[0]
    twin = record.name[:-1] + ("0" if record.name[-1] != "0" else "1")
    record.with_name(twin).write_bytes(record.read_bytes())
    assert "several builds" in log(lighter, record.name[14:-1], code=2).error


@pytest.mark.parametrize("words, said", [(["--format", "xml"], "--format xml"), (["a", "b", "c"], "got 'c' too"), (["-n", "x"], "--limit x"),
                                         (["--follow"], "--follow needs"), (["--all"], "--all is for rm"), (["rm"], "rm: expected builds")])
def test_what_makes_no_sense_is_refused(lighter, words, said):
    assert said in log(lighter, *words, code=2).error


def test_without_a_store_there_is_no_build_and_none_is_made(bare):
    assert log(bare).stdout == ""
    assert "no build has left anything" in log(bare, "^0", code=2).error
    assert not bare.store.exists()


def test_builds_can_be_dropped_by_name(lighter):
    for i in range(4):
        build(lighter, f"FROM busybox\nENV n={i}\nRUN echo {i}\n")
    build(lighter, "FROM busybox\nENV n=0\nRUN echo 0\n")
    ids = [b["id"] for b in builds(lighter)]
    assert log(lighter, "rm", ids[0][:8], "^2").stdout == "2 builds dropped\n"
    assert [b["id"] for b in builds(lighter)] == [ids[1], ids[3], ids[4]]
    assert log(lighter, "rm", "--all").stdout == "3 builds dropped\n"
    assert builds(lighter) == []


# ---- while others build, and after they were killed ----------------------------------------------

def test_a_running_build_is_shown_and_can_be_followed(lighter):
    child = running(lighter, "FROM busybox\nRUN echo begun; for i in 1 2 3 4 5; do sleep 0.2; echo $i; done\n")
    now = builds(lighter, "^0")[0]
    assert now["state"] == "running" and "exit_code" not in now
    assert [s.get("how") for s in now["steps"]] == ["HIT", None]
    assert log(lighter, "^0", "2").stdout.startswith("begun\n")
    assert re.search(r" 2 +running ", log(lighter, "^0").stdout)
    assert "is running" in log(lighter, "rm", "^0", code=2).error
    assert log(lighter, "--follow", "^0", "2").stdout == "begun\n1\n2\n3\n4\n5\n"
    child.communicate(timeout=20)
    assert builds(lighter)[0]["state"] == "done"


def test_history_is_read_without_waiting_for_whoever_has_the_database(lighter):
    build(lighter, THREE)
    with sqlite3.connect(lighter.store / "meta.db") as db:
        db.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        assert len(builds(lighter)) == 1 and log(lighter, "^0", "2").stdout == "one\ntwo\n"
        assert time.monotonic() - began < 5


def test_a_killed_build_is_interrupted_and_those_before_it_are_there(lighter):
    for i in range(3):
        build(lighter, f"FROM busybox\nENV n={i}\nRUN echo {i}\n")
    child = running(lighter, "FROM busybox\nRUN echo first\nRUN echo begun; sleep 60\nRUN true\n", "-t", "never")
    child.kill()
    child.communicate(timeout=20)
    seen = builds(lighter)
    assert [b["state"] for b in seen] == ["interrupted", "done", "done", "done"]
    one = builds(lighter, "^0")[0]
    assert one["names"] == ["docker.io/library/never:latest"] and "exit_code" not in one
    assert [s.get("how") for s in one["steps"]] == ["HIT", "RAN", None]
    assert log(lighter, "^0", "2").stdout == "first\n" and log(lighter, "^0", "3").stdout == "begun\n"
    assert build(lighter, THREE).ran and builds(lighter)[1]["state"] == "interrupted"
    assert log(lighter, "rm", "^1").stdout == "1 builds dropped\n"


def test_what_is_damaged_is_passed_over(lighter):
    build(lighter, THREE)
    build(lighter, THREE)
    top = lighter.store / "builds"
    own = next(path for path in top.iterdir() if path.name != "short")
    good = own.read_bytes()
    own.write_bytes(good + b'{"step":9,"title":"cut in the mid')
    (top / "short").write_bytes(b"\xff\x00garbage\n" + (top / "short").read_bytes() + b'{"format":1,"id":5}\n{"format":')
    (top / ("0" * 13 + "-" + "a" * 12)).write_bytes(os.urandom(1000))
    (top / "not a record").write_bytes(b"x")
    seen = builds(lighter)
    assert [b["state"] for b in seen[:2]] == ["done", "done"] and len(seen) == 3
    assert len(builds(lighter, "^1")[0]["steps"]) == 4
    own.write_bytes(good[:len(good) // 2])
    assert builds(lighter)[1]["state"] == "interrupted"
    assert not build(lighter, THREE).ran


def test_builds_and_readers_at_once_lose_nothing(lighter):
    text = [f"FROM busybox\nENV n={i}\nRUN echo {i}\n" for i in range(4)]
    build(lighter, text[0])
    children = [lighter.start("build", "--isolation", lighter.isolation, lighter.context({"Dockerfile": text[i % 4]})) for i in range(8)]
    while any(child.poll() is None for child in children):
        for one in builds(lighter):
            assert one["state"] in ("running", "done")
    for child in children:
        child.communicate()
        assert child.returncode == 0
    seen = builds(lighter)
    assert len(seen) == 9 and {b["state"] for b in seen} == {"done"}


# ---- what is kept --------------------------------------------------------------------------------

def age(lighter, seconds=3600):
    """Let logs be as old as that."""
    for path in (lighter.store / "logs").iterdir():
        os.utime(path, (time.time() - seconds,) * 2)


def test_so_many_builds_are_kept_and_the_logs_that_they_name(lighter):
    keep = {"LIGHTER_KEEP_BUILDS": "3"}
    base = "FROM busybox\nRUN echo shared\n"
    for i in range(6):
        age(lighter) if i else None
        build(lighter, base + f"ENV n={i}\nRUN echo own-{i}\n", env=keep)
    seen = [json.loads(line) for line in log(lighter, "--format", "json", env=keep).stdout.splitlines()]
    assert len(seen) == 3
    assert log(lighter, "^0", "2").stdout == "shared\n", "its run's record has gone, and it is still named"
    assert log(lighter, "^2", "3").stdout == "own-3\n"
    assert len(files(lighter, "logs")) == 4
    for i in range(40):
        build(lighter, base, env=keep)
    assert len([name for name in files(lighter, "builds") if name != "short"]) == 3, "builds of hits do not push out others"


def test_so_much_output_is_kept(lighter):
    keep = {"LIGHTER_KEEP_LOGS": "400k"}
    for i in range(6):
        build(lighter, f"FROM busybox\nENV n={i}\nRUN head -c 100000 /dev/zero\n", env=keep)
        time.sleep(1.01)
    assert sum(os.stat(lighter.store / "logs" / name).st_blocks * 512 for name in files(lighter, "logs")) <= 400 * 1024
    assert len(builds(lighter)) == 6
    assert len(log(lighter, "^0", "2").stdout) == 100000
    assert "is not kept any more" in log(lighter, "^5", "2", code=2).error


@pytest.mark.parametrize("env, said", [({"LIGHTER_KEEP_BUILDS": "0"}, "LIGHTER_KEEP_BUILDS=0"), ({"LIGHTER_KEEP_BUILDS": "x"}, "LIGHTER_KEEP_BUILDS=x"),
                                       ({"LIGHTER_KEEP_LOGS": "many"}, "LIGHTER_KEEP_LOGS: 'many'")])
def test_limits_are_checked(lighter, env, said):
    assert said in build(lighter, THREE, env=env, code=2).error


def test_history_is_in_du_and_goes_when_it_is_asked_for(lighter):
    build(lighter, THREE)
    build(lighter, THREE)
    rows = [json.loads(line) for line in lighter("du", "--format", "json", "--filter", "type=log").stdout.splitlines()]
    assert {row["ID"].split("/")[0] for row in rows} == {"builds", "logs"} and len(rows) == 4
    assert len([line for line in lighter("du").stdout.splitlines() if " log " in line]) == 1
    lighter("prune", "--force")
    assert len(builds(lighter)) == 2
    said = lighter("prune", "--force", "--filter", "type=log").stdout
    assert "2 files with records of builds, 2 logs of steps" in said
    assert builds(lighter) == [] and files(lighter, "logs") == []
    build(lighter, THREE)
    lighter("prune", "--force", "--all")
    assert builds(lighter) == []
    child = running(lighter, "FROM busybox\nRUN echo begun; sleep 1\n")
    lighter("prune", "--force", "--all")
    assert [b["state"] for b in builds(lighter)] == ["running"]
    child.communicate(timeout=20)
    assert log(lighter, "^0", "2").stdout == "begun\n"


# ---- what it costs -------------------------------------------------------------------------------

def test_a_build_of_hits_makes_no_file_and_writes_its_record_at_once(lighter, needs, temp):
    needs("strace")
    context = lighter.context({"Dockerfile": THREE})
    for _ in range(2):
        lighter.build(context)
    trace = temp / "strace"
    subprocess.run(["strace", "-f", "-qq", "-y", "-o", str(trace), "-e", "trace=openat,write,rename,renameat,fsync,fdatasync",
                    lighter.binary, "build", "--isolation", lighter.isolation, str(context)], check=True,
                   env=lighter.environment(), stderr=subprocess.DEVNULL)
    calls = [line for line in trace.read_text().splitlines() if "/builds" in line or '"builds' in line or '"logs' in line]
    assert len(calls) == 2 and "openat" in calls[0] and "write" in calls[1] and "builds/short" in calls[1], calls


def test_a_build_of_hits_is_as_fast_as_before(lighter):
    """LIGHTER_BEFORE names a binary to compare with, run in turns with this one."""
    before = os.environ.get("LIGHTER_BEFORE")
    if not before:
        pytest.skip("LIGHTER_BEFORE names no binary to compare with")
    context = lighter.context({"Dockerfile": THREE})
    lighter.build(context)
    words = ["build", "--isolation", lighter.isolation, str(context)]

    def seconds(binary):
        began = time.perf_counter()
        subprocess.run([binary, *words], check=True, env=lighter.environment(), stderr=subprocess.DEVNULL)
        return time.perf_counter() - began

    times = {before: [], lighter.binary: []}
    for i in range(120):
        for binary in sorted(times, reverse=i % 2):
            times[binary].append(seconds(binary))
    ratio = statistics.median(times[lighter.binary]) / statistics.median(times[before])
    print(f"a build of hits takes {ratio:.3f} times what it took")
    assert ratio < 1.25
