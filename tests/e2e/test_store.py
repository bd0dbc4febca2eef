"""The store looked after: du, prune, rmi, the cache's ceiling, store check; alone, beside builds, killed."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import threading
import time

import pytest

from harness import IS_ROOT, end_process, processes_with, wait_for

TWO_STAGES = """\
FROM busybox AS one
COPY a /a
RUN head -c 3000000 /dev/zero | tr '\\0' x >/made; cat /a >>/made
FROM busybox
COPY --from=one /made /made
RUN true
RUN cp /made /again
"""


@pytest.fixture(params=["root", "rootless"])
def lighter(request, lighters, bases):
    return lighters(request.param, bases=[bases("busybox")])


def disk(lighter, *args):
    """What the store takes, by a program that is not ours."""
    if not IS_ROOT:
        pytest.skip("only root reads the files of other ids")
    said = subprocess.run(["du", "-s", "-B1", *args, str(lighter.store)], check=True,
                          stdout=subprocess.PIPE, text=True)
    return int(said.stdout.split()[0])


def records(lighter, *args):
    lines = lighter("du", "--format", "json", *args).stdout.splitlines()
    return [json.loads(line) for line in lines]


def by_type(lighter, name):
    return [record for record in records(lighter) if record["Type"] == name]


def freed(result):
    """The bytes and IDs that prune printed."""
    rows = result.stdout.splitlines()
    return (int(rows[-1].split("(")[1].split()[0]),
            sorted(row.split()[0].rstrip("*") for row in rows[1:-1]))


def clean(lighter):
    result = lighter("store", "check")
    assert "in order" in result.stdout, result.stdout
    return True


def two_stages(lighter, tag="app", text="1"):
    return lighter.build(lighter.context({"a": text}), "--epoch=content", dockerfile=TWO_STAGES, tag=tag)


def database(lighter):
    return sqlite3.connect(lighter.store / "meta.db", timeout=20)


# ---- du ------------------------------------------------------------------------------------------

def test_du_counts_what_the_disk_counts(lighter):
    two_stages(lighter)
    lighter.run_in("FROM busybox\nRUN --mount=type=cache,target=/c echo x >/c/x; ln /bin/busybox /l; "
                   "mkdir /many; for i in $(seq 500); do echo $i >/many/$i; done; ln /many/1 /many/one\n")
    lighter.save("app", lighter.directory() / "app.tar")
    lighter.run_in("FROM busybox\nRUN exit 1\n", code=1)
    there = disk(lighter)
    assert abs(sum(record["Bytes"] for record in records(lighter)) - there) <= there / 100


def test_du_tells_what_made_each_record_and_how_often_it_was_used(lighter):
    two_stages(lighter)
    two_stages(lighter)
    two_stages(lighter)
    steps = {record["Description"]: record for record in by_type(lighter, "regular")}
    assert "COPY /a /a" in steps or "COPY a /a" in steps, list(steps)
    last = next(record for what, record in steps.items() if what.endswith("cp /made /again"))
    assert last["UsageCount"] == 3 and last["Shared"] and not last["Reclaimable"]
    # Every build goes to the first stage's record for its result.
    inner = next(record for what, record in steps.items() if "head -c" in what)
    assert inner["UsageCount"] == 3 and not inner["Shared"] and inner["Reclaimable"]
    assert inner["Bytes"] >= 3000000
    assert {record["Description"] for record in by_type(lighter, "image")} == {
        "docker.io/library/busybox:latest", "docker.io/library/app:latest"}
    assert "Usage count:" in lighter("du", "--verbose").stdout


def test_a_build_of_hits_writes_nothing_to_the_database(lighter):
    context = lighter.context({"a": "1"})
    def build():
        lighter.build(context, "--epoch=content", dockerfile=TWO_STAGES, tag="app")

    build()
    wait_for(lambda: database(lighter).execute("SELECT count(*) FROM undurable").fetchone() == (0,))
    time.sleep(0.5)  # who struck them off carries the log over, too
    before = [(lighter.store / name).read_bytes() for name in ("meta.db", "meta.db-wal")]
    build()
    assert [(lighter.store / name).read_bytes() for name in ("meta.db", "meta.db-wal")] == before


# ---- prune ---------------------------------------------------------------------------------------

def test_prune_drops_what_no_tag_needs_and_says_how_much(lighter):
    first = two_stages(lighter)
    lighter.save("app", lighter.directory() / "app.tar")
    assert wait_for(lambda: not lighter.writers_out())
    without = "--exclude=meta.db-wal"  # what was used is written down, and the log may grow by it
    before = disk(lighter, without)
    dry = lighter("prune", "--dry-run")
    assert disk(lighter, without) == before
    said, ids = freed(lighter("prune", "--force"))
    assert freed(dry) == (said, ids) and said > 3000000
    assert abs(before - disk(lighter) - said) < said / 20
    assert lighter.run("app", "ls", "/again").stdout == "/again\n"
    assert clean(lighter)
    assert freed(lighter("prune", "--force")) == (0, [])
    again = two_stages(lighter)
    assert again.ran and again.id == first.id


def test_prune_all_drops_what_can_be_had_again_and_images_stay_whole(lighter):
    first = two_stages(lighter)
    lighter("prune", "--force")
    assert not any("unpacked" in what for what in [record["Description"] for record in records(lighter)
                                                   if record["Reclaimable"]])
    lighter("prune", "--all", "--force")
    assert not any("unpacked" in record["Description"] for record in records(lighter))
    assert lighter.run("app", "ls", "/again").stdout == "/again\n"
    assert clean(lighter)
    assert two_stages(lighter).id == first.id


def test_prune_asks_and_without_a_terminal_wants_force(bare):
    refused = bare("prune", code=2)
    assert "--force" in refused.error
    assert "--filter nonsense" in bare("prune", "-f", "--filter", "nonsense", code=2).error
    assert "24h" in bare("prune", "-f", "--filter", "until=soon", code=2).error
    assert "regular expression" in bare("prune", "-f", "--filter", "description~=(", code=2).error
    assert "12x" in bare("prune", "-f", "--max-used-space", "12x", code=2).error
    assert "--max-cache" in bare("build", "--max-cache", "101%", ".", code=2).error


@pytest.fixture
def known(lighter):
    """A store of known records: two caches, three untagged steps of other ages, one image."""
    for name in ("go", "npm"):
        lighter.run_in(f"FROM busybox\nRUN --mount=type=cache,id={name},target=/c head -c 100000 "
                       f"/dev/zero >/c/{name}; echo {name} >/{name}\n")
    lighter.run_in("FROM busybox\nRUN echo tagged >/t\n", tag="kept")
    lighter.run_in("FROM busybox\nRUN echo young >/young\n")
    with database(lighter) as db:
        db.execute("UPDATE use SET used = used - 90000 WHERE name NOT IN (SELECT 's' || snapshot "
                   "FROM record WHERE inputs LIKE '%young%')")
    db.close()
    return lighter


def whats(lighter, *filters):
    words = [word for text in filters for word in ("--filter", text)]
    return sorted(record["Description"].replace("/bin/sh -c ", "") for record in records(lighter, *words)
                  if record["Type"] in ("regular", "exec.cachemount"))


@pytest.mark.parametrize("text, go", [
    ("until=24h", {"go", "npm", "echo go >/go", "echo npm >/npm"}),
    ("until=26h", set()),
    ("type=exec.cachemount", {"go", "npm"}),
    ("type==exec.cachemount", {"go", "npm"}),
    ("type!=exec.cachemount", {"echo go >/go", "echo npm >/npm", "young"}),
    ("type=exec.cachemount,id=go", {"go"}),
    ("id~=^mounts/", {"go", "npm"}),
    ("description~=echo (go|young)", {"echo go >/go", "young"}),
    ("description=npm", {"npm"}),
    ("mutable", {"go", "npm"}),
    ("immutable", {"echo go >/go", "echo npm >/npm", "young"}),
    ("private", {"go", "npm", "echo go >/go", "echo npm >/npm", "young"}),
    ("shared", set()),
    ("inuse", set()),
])
def test_each_filter_drops_what_it_names_and_nothing_else(known, text, go):
    def short(what):
        for name in ("echo go >/go", "echo npm >/npm", "echo young", "echo tagged"):
            if name in what:
                return name.replace("echo young", "young")
        return what
    before = {short(what) for what in whats(known)}
    assert before == {"go", "npm", "echo go >/go", "echo npm >/npm", "young", "echo tagged"}
    known("prune", "--force", "--filter", text)
    assert before - {short(what) for what in whats(known)} == go
    assert clean(known)


def test_several_filters_must_all_hold(known):
    known("prune", "--force", "--filter", "until=24h", "--filter", "type=regular")
    assert [record["Description"] for record in by_type(known, "exec.cachemount")] == ["go", "npm"]
    assert len(by_type(known, "regular")) == 2


def test_space_limits_drop_the_longest_unused_until_it_fits(lighter):
    for name in "abcd":
        lighter.run_in(f"FROM busybox\nRUN head -c 2000000 /dev/zero >/{name}\n")
    with database(lighter) as db:
        for age, name in enumerate("dcba"):
            db.execute("UPDATE use SET used = used - ? WHERE name IN (SELECT 's' || snapshot FROM "
                       "record WHERE inputs LIKE ?)", (1000 * (age + 1), f"%>/{name}%"))
    db.close()

    def left():
        return "".join(sorted(record["Description"][-1] for record in by_type(lighter, "regular")))
    lighter("prune", "-f", "--max-used-space", "1GB")
    assert left() == "abcd"
    lighter("prune", "-f", "--max-used-space", "6MB")
    assert left() == "bcd"
    lighter("prune", "-f", "--max-used-space", "1", "--reserved-space", "4MB")
    assert left() == "cd"
    lighter("prune", "-f", "--min-free-space", "1")
    assert left() == "cd"
    lighter("prune", "-f", "--min-free-space", "100%")
    assert left() == ""


# ---- cache mounts --------------------------------------------------------------------------------

def test_a_cache_mount_is_emptied_alone_and_no_cache_leaves_it(lighter):
    dockerfile = ("FROM busybox\nRUN --mount=type=cache,id=one,target=/c --mount=type=cache,id=two,target=/d "
                  "echo had=$(ls /c | wc -l)-$(ls /d | wc -l); echo $RANDOM >/c/$(ls /c | wc -l); "
                  "echo >/d/$(ls /d | wc -l)\n")
    assert lighter.run_in(dockerfile).said("had") == "0-0"
    assert lighter.run_in(dockerfile, "--no-cache").said("had") == "1-1"
    lighter("prune", "--force", "--filter", "type=exec.cachemount", "--filter", "id=one")
    assert lighter.run_in(dockerfile, "--no-cache").said("had") == "0-2"
    two = next(record for record in by_type(lighter, "exec.cachemount") if record["Description"] == "two")
    assert two["Mutable"] and two["Bytes"] > 0 and two["UsageCount"] == 3
    assert clean(lighter)


# ---- rmi -----------------------------------------------------------------------------------------

def test_an_image_goes_with_its_last_name_and_shared_layers_stay(lighter):
    built = two_stages(lighter)
    lighter.build(lighter.context({"a": "1"}), "--epoch=content", dockerfile=TWO_STAGES, tag="other")
    lighter.save("app", lighter.directory() / "app.tar")
    assert lighter("rmi", "app").stdout == "Untagged: app:latest\n"
    assert lighter("rmi", "other").stdout.splitlines() == ["Untagged: other:latest", f"Deleted: {built.id}"]
    assert [row["repo"] for row in lighter.images()] == ["busybox"]
    assert lighter.run("busybox", "echo", "there").stdout == "there\n"
    assert "no image" in lighter("rmi", "app", code=2).error
    assert lighter("rmi", "--force", "app").stdout == ""
    assert clean(lighter)
    assert two_stages(lighter).id == built.id


def test_rmi_by_id_wants_force_for_several_names(lighter):
    built = two_stages(lighter)
    two_stages(lighter, tag="other")
    assert "2 names" in lighter("rmi", built.id, code=2).error
    lighter("rmi", "--force", built.id[7:19])
    assert [row["repo"] for row in lighter.images()] == ["busybox"]


def test_removing_a_base_frees_its_layers(lighter):
    lighter.run("busybox", "true")
    lighter("rmi", "busybox")
    assert [record["Type"] for record in records(lighter) if record["Type"] != "internal"] == []
    index = json.loads((lighter.store / "index.json").read_text())
    assert index["manifests"] == []
    assert clean(lighter)


# ---- the ceiling ---------------------------------------------------------------------------------

def cache_size(lighter):
    return sum(record["Bytes"] for record in records(lighter)
               if record["Type"] != "internal" and not record["Shared"])


def test_the_cache_stays_below_its_ceiling_oldest_use_first(lighter):
    for i in range(12):
        built = lighter.run_in(f"FROM busybox\nRUN head -c 1000000 /dev/zero >/n{i}\n",
                               "--max-cache", "5MB", tag="app" if i % 2 else None)
        assert cache_size(lighter) <= 5 << 20, built.stderr
    assert "records dropped" in built.stderr
    left = [record["Description"][-4:] for record in by_type(lighter, "regular")]
    assert any("n11" in what for what in left) and any("n10" in what for what in left)
    assert not any("/n1" == what[-3:] for what in left)
    assert lighter.run("app", "ls", "/n11").stdout == "/n11\n"
    assert clean(lighter)


@pytest.mark.parametrize("lighter", ["root"], indirect=True)
def test_where_nobody_names_a_ceiling_half_a_small_disk_is_one_and_no_build_waits_for_it(lighter, disk):
    for i in range(12):
        built = lighter.run_in(f"FROM busybox\nRUN head -c 5000000 /dev/zero >/n{i}\n")
        assert "records dropped" not in built.stderr
        assert wait_for(lambda: cache_size(lighter) <= 32 << 20, 20), "what the build leaves behind makes room"
    left = [record["Description"][-4:] for record in by_type(lighter, "regular")]
    assert any("n11" in what for what in left) and not any("/n1" == what[-3:] for what in left)
    assert wait_for(lambda: not any((lighter.store / "tmp").iterdir()), 20)
    assert clean(lighter)


def test_the_ceiling_comes_from_the_environment_and_zero_keeps_only_what_tags_need(lighter):
    dockerfile = "FROM busybox\nRUN echo a >/a\n"
    lighter.run_in(dockerfile)
    lighter.run_in("FROM busybox\nRUN echo b >/b\n", tag="b", env={"LIGHTER_MAX_CACHE": "0"})
    assert [record["Description"][-5:] for record in by_type(lighter, "regular")] == ["b >/b"]
    assert "LIGHTER_MAX_CACHE" in lighter.run_in(dockerfile, env={"LIGHTER_MAX_CACHE": "big"}, code=2).error


# ---- beside builds -------------------------------------------------------------------------------

def waiting(name):
    marker = f"marker-{os.getpid()}-{name}-{time.monotonic_ns()}"
    return marker, ("FROM busybox AS one\nRUN echo before >/before\n"
                    "FROM busybox\nCOPY --from=one /before /b\n"
                    f"RUN --mount=type=cache,id=held,target=/c echo 1 >/c/1; "
                    f"while ! ls /go/now; do sleep 0.1; done; ls /c/1; : {marker}\n"
                    "COPY --from=one /before /c\nRUN cat /b /c\n")


def test_prune_and_gc_beside_a_build_take_nothing_it_uses(lighter):
    marker, dockerfile = waiting("prune")
    dockerfile = dockerfile.replace("while ! ls /go/now; do sleep 0.1; done", "sleep 4")
    child = lighter.start("build", "--isolation", lighter.isolation, "-t", "app", "-f", "-",
                          lighter.context(), stdin=subprocess.PIPE)
    child.stdin.write(dockerfile.encode())
    child.stdin.close()
    child.stdin = None
    try:
        assert wait_for(lambda: processes_with(marker), 10)
        used = [(record["Type"], record["Description"]) for record in records(lighter) if record["InUse"]]
        assert "exec.cachemount" in dict(used) and any("echo before" in what for _, what in used), used
        lighter("prune", "--all", "--force")
        lighter("rmi", "busybox")
        lighter.run_in("FROM scratch\nCOPY <<x /x\ny\nx\n", "--max-cache", "0")
        lighter("prune", "--all", "--force")
        _, err = child.communicate(timeout=60)
    finally:
        end_process(child)
    assert child.returncode == 0, err.decode()
    assert b"| before" in err and b"/c/1" in err
    assert lighter.run("app", "cat", "/b").stdout == "before\n"
    assert clean(lighter)
    lighter("prune", "--force")
    assert by_type(lighter, "exec.cachemount") == []


def test_builds_prunes_and_gcs_at_once_give_right_images(lighter):
    contexts = [lighter.context({"a": str(i)}) for i in range(3)]
    want, wrong = {}, []
    for i, context in enumerate(contexts):
        want[i] = lighter.build(context, "--epoch=content", dockerfile=TWO_STAGES).id
    stop = threading.Event()

    def build(i):
        for n in range(6):
            args = ["--max-cache", "1MB"] if n % 2 else []
            result = lighter.build(contexts[i], "--epoch=content", *args, dockerfile=TWO_STAGES,
                                   tag=f"t{i}" if n % 3 else None, code=None)
            if result.code or result.id != want[i]:
                wrong.append(result)

    def prune():
        while not stop.is_set():
            result = lighter("prune", "--all", "--force", code=None)
            if result.code:
                wrong.append(result)
    pruner = threading.Thread(target=prune)
    builders = [threading.Thread(target=build, args=(i,)) for i in range(3)]
    for thread in [pruner, *builders]:
        thread.start()
    for thread in builders:
        thread.join()
    stop.set()
    pruner.join()
    assert wrong == []
    assert clean(lighter)
    for i in range(3):
        assert lighter.run(f"t{i}", "tail", "-c1", "/again").stdout == str(i)


# ---- crashes -------------------------------------------------------------------------------------

def test_a_prune_killed_anywhere_leaves_a_store_that_is_in_order(lighter):
    rng = random.Random(7)
    context = lighter.context({"a": "k"})
    want = lighter.build(context, "--epoch=content", dockerfile=TWO_STAGES, tag="app").id
    lighter("prune", "--all", "--force")
    began = time.monotonic()
    lighter("prune", "--all", "--force")
    whole = time.monotonic() - began
    for _ in range(12):
        again = lighter.build(context, "--epoch=content", dockerfile=TWO_STAGES,
                              tag="app" if rng.random() < 0.5 else None)
        assert again.id == want
        child = lighter.start("prune", "--all", "--force")
        time.sleep(rng.random() * whole * 1.5)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        assert clean(lighter)
        assert lighter.leftovers() == []
    assert lighter.build(context, "--epoch=content", dockerfile=TWO_STAGES).id == want


def test_builds_killed_anywhere_leave_a_store_that_is_in_order(lighter):
    rng = random.Random(11)
    contexts = [lighter.context({"a": str(i)}) for i in range(8)]
    for context in contexts:
        child = lighter.start("build", "--isolation", lighter.isolation, "--max-cache", "2MB", "-t", "app",
                              "-f", "-", context, stdin=subprocess.PIPE)
        child.stdin.write(TWO_STAGES.encode())
        child.stdin.close()
        child.stdin = None
        time.sleep(rng.random() * 0.5)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        assert clean(lighter)
    first = lighter.build(contexts[0], "--epoch=content", dockerfile=TWO_STAGES)
    assert first.id == lighter.build(contexts[0], "--epoch=content", "--no-cache", dockerfile=TWO_STAGES).id


# ---- check ---------------------------------------------------------------------------------------

def found(lighter, *words):
    """Findings without and with repair; then all is well."""
    said = lighter("store", "check", code=7).stdout
    for word in words:
        assert word in said, said
    fixed = lighter("store", "check", "--repair")
    for word in words:
        assert word in fixed.stdout, fixed.stdout
    assert clean(lighter)
    return said


def snapshot_of(lighter, like):
    with database(lighter) as db:
        row = db.execute("SELECT snapshot FROM record WHERE inputs LIKE ?", (f"%{like}%",)).fetchone()
    db.close()
    return lighter.store / "snapshots" / str(row[0])


def test_a_missing_snapshot_is_found_and_costs_a_step(lighter):
    first = two_stages(lighter)
    shutil.rmtree(snapshot_of(lighter, "/again"))
    said = found(lighter, "its directory is gone", first.id[7:19])
    assert said.count("\n") == 3, said
    again = two_stages(lighter)
    assert again.id == first.id and again.ran == ["RUN cp /made /again"]


def test_a_changed_snapshot_is_found_and_costs_a_step(lighter):
    first = two_stages(lighter)
    victim = snapshot_of(lighter, "/again") / "again"
    with open(victim, "r+b") as f:
        f.write(b"y")
    found(lighter, "its files are not those of layer")
    again = two_stages(lighter)
    assert again.id == first.id and again.ran == ["RUN cp /made /again"]


def test_a_damaged_blob_is_found_and_the_image_is_packed_again(lighter):
    first = two_stages(lighter)
    lighter.save("app", lighter.directory() / "one.tar")
    manifest = lighter.inspect("app")["ManifestDigest"]
    layers = json.loads((lighter.store / "blobs/sha256" / manifest[7:]).read_text())["layers"]
    for victim in (layers[-1]["digest"], manifest):
        path = lighter.store / "blobs/sha256" / victim[7:]
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        found(lighter, victim, "its bytes are others")
        assert lighter.image("app").digest == manifest
    path = lighter.store / "blobs/sha256" / first.id[7:]
    path.write_bytes(b"{}")
    found(lighter, first.id, "its bytes are others")
    assert two_stages(lighter).id == first.id
    assert lighter.damaged_blobs() == []


def test_a_damaged_layer_of_a_base_is_found_and_loaded_again(lighter, bases):
    want = lighter.run_in("FROM busybox\nRUN echo x >/x\n", "--epoch=content").id
    lighter.save("busybox", lighter.directory() / "one.tar")
    manifest = lighter.inspect("busybox")["ManifestDigest"]
    victim = json.loads((lighter.store / "blobs/sha256" / manifest[7:]).read_text())["layers"][0]["digest"]
    path = lighter.store / "blobs/sha256" / victim[7:]
    path.write_bytes(path.read_bytes()[:-1])
    found(lighter, victim)
    args = ("--epoch=content", "--no-cache")
    assert lighter.run_in("FROM busybox\nRUN echo x >/x\n", *args).id == want
    assert "load or pull the image again" in lighter.save("busybox", lighter.directory() / "two.tar", code=7).error
    lighter.load(bases("busybox"))
    assert lighter.image("busybox").digest == manifest
    path.write_bytes(b"")
    for record in by_type(lighter, "layer"):
        if "unpacked" in record["Description"]:
            shutil.rmtree(lighter.store / "snapshots" / record["ID"][1:])
    lighter("store", "check", code=7)
    assert "layer 1 is gone" in lighter("store", "check", "--repair").stdout
    assert clean(lighter) and "busybox" not in [row["repo"] for row in lighter.images()]
    lighter.load(bases("busybox"))
    assert lighter.run_in("FROM busybox\nRUN echo x >/x\n", *args).id == want


def test_damaged_rows_are_found_and_dropped(lighter):
    first = two_stages(lighter)
    with database(lighter) as db:
        db.execute("UPDATE record SET result = x'0102' WHERE inputs LIKE '%/again%'")
        db.execute("INSERT INTO layer VALUES(zeroblob(5), 3)")
        db.execute("INSERT INTO record VALUES(zeroblob(32), zeroblob(32), 4711, 0, '')")
        db.execute("INSERT INTO tag VALUES('docker.io/library/lost:latest', zeroblob(32))")
        db.execute("INSERT INTO packed VALUES(zeroblob(32), 1, zeroblob(32), 5)")
    db.close()
    (lighter.store / "snapshots" / "9999").mkdir()
    lighter.own(lighter.store / "snapshots" / "9999")
    (lighter.store / "index.json").write_text("{")
    found(lighter, "'step record'", "'unpacked layer'", "step record 0000", "lost:latest", "snapshots/9999",
          "index.json", "is gone")
    again = two_stages(lighter)
    assert again.id == first.id and again.ran == ["RUN cp /made /again"]


def test_a_cache_mount_without_its_directory_begins_empty(lighter):
    dockerfile = "FROM busybox\nRUN --mount=type=cache,target=/c ls /c; echo >/c/x\n"
    lighter.run_in(dockerfile)
    for mount in (lighter.store / "mounts").iterdir():
        shutil.rmtree(mount / "data")
    found(lighter, "mounts/")
    lighter.run_in(dockerfile, "--no-cache")


@pytest.mark.parametrize("damage", ["text", "page"])
def test_a_database_that_cannot_be_read_is_begun_anew(lighter, bases, damage):
    first = two_stages(lighter)
    assert wait_for(lambda: not lighter.writers_out(), 30), "nobody writes the database back"
    path = lighter.store / "meta.db"
    with database(lighter) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    data = bytearray(path.read_bytes())
    data[:] = b"no database" * 100 if damage == "text" else data[:4096] + os.urandom(len(data) - 4096)
    path.write_bytes(data)
    for name in ("meta.db-wal", "meta.db-shm"):
        (lighter.store / name).unlink(missing_ok=True)
    assert "--repair" in lighter("store", "check", code=7).error
    lighter("store", "check", "--repair")
    assert clean(lighter)
    lighter.load(bases("busybox"))
    assert two_stages(lighter).id == first.id
    assert [record for record in records(lighter) if record["Description"] == "left behind"] == []


def test_a_locked_database_is_no_damage(lighters, bases):
    lighter = lighters(bases=[bases("busybox")])
    db = database(lighter)
    db.execute("PRAGMA user_version = 99")
    db.commit()
    db.close()
    said = lighter("store", "check", "--repair", code=7)
    assert "newer lighter" in said.error and "set aside" not in said.error
    assert (lighter.store / "meta.db").stat().st_size > 0
    assert not list(lighter.store.glob("broken-*"))
