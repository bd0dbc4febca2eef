"""Guards against rare and hostile inputs; each test fails without the guard it is named after."""

import copy
import json
import os
import pty
import signal
import stat
import subprocess
import time

import pytest

from harness import CONTENT_TIME, end_process, wait_for
from test_load import Maker, change_json, good_layer, tar_of


# ---- equal steps ---------------------------------------------------------------------------------

TWINS = """FROM busybox AS a
RUN cat /proc/sys/kernel/random/uuid > /x
FROM busybox AS b
RUN cat /proc/sys/kernel/random/uuid > /x
FROM scratch
COPY --from=a /x /a
COPY --from=b /x /b
"""


@pytest.mark.parametrize("flags", [[], ["--no-cache"]])
def test_equal_steps_of_one_build_run_once_and_have_one_result(lighter, flags):
    first = lighter.run_in(TWINS, *flags, tag="twins")
    files = lighter.image("twins").rootfs()
    assert [title for title in first.ran if title.startswith("RUN")] == ["RUN cat /proc/sys/kernel/random/uuid > /x"]
    again = lighter.run_in(TWINS)
    assert again.ran == [] and again.id == first.id
    assert {"a", "b"} <= set(files)


# ---- what comes in -------------------------------------------------------------------------------

def busybox_program():
    return open("/bin/busybox", "rb").read()


def test_an_archive_cannot_change_the_layers_of_an_image_that_is_there(bare):
    good = Maker().image(good_layer(busybox_program()), ref="docker.io/t/good:1")
    bare("load", input=good.archive())
    before = bare.image("t/good:1").layers[0].names()
    evil = copy.deepcopy(good)
    bad = evil.blob(tar_of(("EVIL", "file", b"evil")), "application/vnd.oci.image.layer.v1.tar")
    change_json(evil, "manifest", lambda manifest: manifest.update(layers=[bad]))
    refused = bare("load", input=evil.archive(), code=None)
    assert refused.code == 7 and "does not unpack" in refused.error
    assert bare.image("t/good:1").layers[0].names() == before


def test_the_same_image_packed_in_another_way_can_be_saved(bare):
    layer = good_layer(busybox_program())
    plain = Maker().image(layer, ref="docker.io/t/good:1", media="application/vnd.oci.image.layer.v1.tar")
    packed = Maker().image(layer, ref="docker.io/t/good:1")
    for archive in (plain, packed):
        bare("load", input=archive.archive())
        assert "bin/busybox" in bare.image("t/good:1").rootfs()


def test_loading_again_brings_back_a_blob_that_was_removed(bare):
    made = Maker().image(good_layer(busybox_program()), ref="docker.io/t/good:1").layout(bare.directory())
    bare.load(made)
    layer = json.loads((bare.store / "index.json").read_text())["manifests"][0]["digest"].split(":")[1]
    manifest = json.loads((bare.store / "blobs/sha256" / layer).read_text())
    blob = bare.store / "blobs/sha256" / manifest["layers"][0]["digest"].split(":")[1]
    blob.unlink()
    bare.load(made)
    assert blob.exists()
    bare.run_in("FROM t/good:1\nRUN [\"/bin/busybox\", \"true\"]\n")


def test_an_archive_may_come_byte_by_byte(bare):
    data = Maker().image(good_layer(busybox_program()), ref="docker.io/t/good:1").archive()
    read, write = os.pipe()
    child = bare.start("load", stdin=read)
    os.close(read)
    for at in (0, 1, 2):
        os.write(write, data[at:at + 1])
        time.sleep(0.05)
    with os.fdopen(write, "wb") as rest:
        rest.write(data[3:])
    out, err = child.communicate(timeout=30)
    assert child.returncode == 0, err


def test_a_pipe_in_the_place_of_an_index_does_not_hang(bare):
    top = bare.directory()
    os.mkfifo(top / "index.json")
    assert bare.load(top, code=None, timeout=10).code == 7


def test_a_name_deleted_and_made_anew_in_one_layer_hides_what_is_below(bare):
    base = good_layer(busybox_program())
    below = tar_of(("d", "dir", ""), ("d/old", "file", b"old"))
    for order in (0, 1):
        entries = [("d", "dir", ""), ("d/new", "file", b"new")]
        entries.insert(0 if order else 2, (".wh.d", "file", b""))
        made = Maker().image(base, below, tar_of(*entries), ref=f"docker.io/t/anew:{order}")
        bare("load", input=made.archive())
        listed = bare.run(f"t/anew:{order}", "/bin/busybox", "ls", "/d")
        assert listed.stdout.split() == ["new"]


def test_a_thousand_extension_headers_before_one_entry_are_refused(bare):
    import io
    import tarfile
    out = io.BytesIO()
    for _ in range(1000):
        info = tarfile.TarInfo("x")
        info.type = tarfile.XHDTYPE
        body = b"1000 comment=" + b"x" * 986 + b"\n"
        info.size = len(body)
        out.write(info.tobuf(tarfile.USTAR_FORMAT) + body + b"\0" * (-len(body) % 512))
    refused = bare("load", input=out.getvalue() + b"\0" * 1024, code=None)
    assert refused.code == 7 and "extension headers" in refused.error


# ---- the host ------------------------------------------------------------------------------------

def test_a_device_as_output_is_written_into_and_not_replaced(lighter, needs_root):
    device = lighter.directory() / "null"
    os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    lighter.run_in("FROM busybox\nRUN true\n", "-o", f"type=oci,dest={device}", tag="t")
    lighter.save("t", device)
    lighter("build", "-q", "--iidfile", device, "-f", "-", lighter.context(), input="FROM busybox\n")
    assert stat.S_ISCHR(device.stat().st_mode)


def test_a_link_as_output_is_written_through(lighter):
    place = lighter.directory()
    (place / "real").write_text("old")
    (place / "link").symlink_to("real")
    lighter.run_in("FROM busybox\nRUN true\n", tag="t")
    lighter.save("t", place / "link")
    assert (place / "link").is_symlink() and (place / "real").stat().st_size > 10000


def test_a_store_is_its_owner_s_alone(lighter):
    assert stat.S_IMODE(lighter.store.stat().st_mode) == 0o700




def test_a_program_of_an_image_has_no_terminal_to_type_into(lighter):
    """It has the terminal as stdin, and is in a session that the terminal does not control."""
    main, other = pty.openpty()
    child = lighter.start("run", "busybox", "sh", "-c", "tty; cat /dev/tty 2>&1; echo done", stdin=other)
    out, _ = child.communicate(timeout=30)
    os.close(main)
    os.close(other)
    assert b"done" in out
    assert b"No such device or address" in out or b"can't open" in out


def test_a_failure_report_does_not_steer_the_terminal(lighter):
    failed = lighter.run_in("FROM busybox\nRUN printf '\\033]0;owned\\007\\033[2J'; exit 1\n", code=1)
    assert "\033" not in failed.stderr and "\007" not in failed.stderr


# ---- what is accepted is honoured ----------------------------------------------------------------

def test_resolv_conf_may_be_a_link_to_what_the_image_lacks(lighter):
    context = lighter.context({"etc/x": ""})
    (context / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    lighter.own(context)
    lighter.build(context, dockerfile="FROM busybox\nCOPY etc /etc\nRUN cat /etc/resolv.conf > /seen\n", tag="t")
    files = lighter.image("t").rootfs()
    assert "seen" in files
    assert not any(path.startswith("run/systemd") for path in files)


def test_the_check_directive_makes_warnings_errors_and_skips_rules(lighter):
    text = "FROM busybox\nLABEL a=$nothing\n"
    assert lighter.run_in(text).code == 0
    refused = lighter.run_in("# check=error=true\n" + text, code=None)
    assert refused.code == 5 and "error=true" in refused.error
    assert lighter.run_in("# check=skip=UndefinedVar;error=true\n" + text).warnings == []


def test_a_context_stands_for_a_stage_of_its_name(lighter):
    text = "FROM nosuch AS one\nRUN exit 1\nFROM one\nRUN echo built=yes\n"
    lighter.run_in("FROM busybox\nENV it=stands\n", tag="stand:in")
    done = lighter.run_in(text, "--build-context", "one=docker-image://stand:in", tag="t")
    assert done.said("built") == "yes" and len(done.steps) == 2
    assert "it=stands" in lighter.inspect("t")["Config"]["Env"]


def test_source_date_epoch_of_the_environment_is_a_build_argument_too(lighter):
    done = lighter.run_in("FROM busybox\nARG SOURCE_DATE_EPOCH\nRUN echo epoch=$SOURCE_DATE_EPOCH\n",
                          env={"SOURCE_DATE_EPOCH": str(CONTENT_TIME)})
    assert done.said("epoch") == str(CONTENT_TIME)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("words", [["-f", "-", "."], ["-"]])
@pytest.mark.parametrize("sent", [b"", b"FROM busybox\n"])
def test_a_signal_stops_a_build_that_waits_for_stdin(lighter, name, words, sent):
    child = lighter.start("build", *words, stdin=subprocess.PIPE, cwd=lighter.context())
    try:
        # The signals are its own from the moment on that it waits for both.
        assert wait_for(lambda: "poll" in open(f"/proc/{child.pid}/wchan").read()
                        or open(f"/proc/{child.pid}/syscall").read().split()[0] in ("7", "271"))
        child.stdin.write(sent)
        child.stdin.flush()
        child.send_signal(getattr(signal, name))
        assert child.wait(10) == -getattr(signal, name)
        assert child.stderr.read() == b""
    finally:
        end_process(child)
    assert lighter.leftovers() == []


def test_snapshots_without_a_database_are_passed_over(lighter, bases):
    lighter.run_in("FROM busybox\nRUN echo 1 > /a\n")
    for name in ("meta.db", "meta.db-wal", "meta.db-shm"):
        (lighter.store / name).unlink(missing_ok=True)
    lighter.load(bases("busybox"))
    lighter.run_in("FROM busybox\nRUN echo 2 > /b\n", tag="t")
    assert "b" in lighter.image("t").rootfs() and "a" not in lighter.image("t").rootfs()


def test_a_layer_without_entries_of_its_parents_keeps_them_as_they_are_below(bare):
    import tarfile
    tmp = tarfile.TarInfo("tmp")
    tmp.type, tmp.mode = tarfile.DIRTYPE, 0o1777
    base, above = good_layer(busybox_program()), tar_of(("tmp/x", "file", b"x"))
    bare("load", input=Maker().image(base, tar_of(tmp), above, ref="docker.io/t/sticky:1").archive())
    bare("load", input=Maker().image(base, above, ref="docker.io/t/plain:1").archive())
    for name, mode in (("sticky", "1777"), ("plain", "755"), ("sticky", "1777")):
        seen = bare.run(f"t/{name}:1", "/bin/busybox", "stat", "-c", "%a", "/tmp")
        assert seen.stdout.strip() == mode
    bare.run_in("FROM t/sticky:1\nCOPY f /tmp/y\n", files={"f": ""}, tag="t")
    copied = bare.image("t").layers[-1]["tmp"]
    assert copied.mode & 0o7777 == 0o1777


@pytest.mark.parametrize("value, code", [("error=1", 5), ("error=F", 0), ("skip=Other , UndefinedVar; error=true", 0),
                                         ("skip=all;error=true", 0), ("error=perhaps", 3), ("eror=true", 3), ("skip", 3)])
def test_every_word_of_the_check_directive_is_honoured_or_refused(lighter, value, code):
    assert lighter.run_in(f"# check={value}\nFROM busybox\nLABEL a=$nothing\n", code=None).code == code
