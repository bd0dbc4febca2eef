"""The 45 corner cases that other builders got wrong at some time, each by its number in the list of features.

What belongs to registries (pushing, pulling) is shown as far as a store and layouts go.
"""

import json
import os
import re
import time
from pathlib import Path

import pytest

from harness import Image, mounts, xattrs

from test_load import Maker, good_layer, tar_of

# Cases that another file holds already, in more depth than here.
ELSEWHERE = {
    17: ["test_load.py::test_a_hostile_layer_writes_nothing_outside"],
    22: ["test_contexts.py::test_files_of_git_have_the_modes_git_knows_whatever_the_umask"],
    44: ["test_faults.py::test_a_context_that_vanishes_is_an_error"],
    45: ["test_faults.py::test_a_signal_ends_the_build_with_its_number_and_cleans_up",
         "test_faults.py::test_kill_9_in_the_middle_of_a_step_leaves_no_process_mount_or_file"],
}


@pytest.fixture(params=["root", "rootless"])
def both(request, lighters, bases):
    """A store with busybox, once in each mode."""
    return lighters(request.param, bases=[bases("busybox")])


def built(lighter, text, *args, files=None, **options):
    """The Result and the files of a build."""
    done = lighter.run_in(text, *args, files=files, tag="t", **options)
    return done, lighter.image("t").rootfs()


def owner(files, path):
    return files[path][0].uid, files[path][0].gid


def test_every_number_has_a_test():
    text = Path(__file__).read_text()
    numbers = {int(n) for n in re.findall(r"^def test_(\d\d)_", text, re.M)} | set(ELSEWHERE)
    assert numbers == set(range(1, 46))
    for tests in ELSEWHERE.values():
        for test in tests:
            file, name = test.split("::")
            assert f"def {name}(" in Path(__file__).with_name(file).read_text(), test


# ---- owners, modes, files ------------------------------------------------------------------------

def test_01_copy_gives_root_whoever_builds(both):
    _, files = built(both, "FROM busybox\nCOPY d /d\n", files={"d/f": ""})
    assert owner(files, "d/f") == owner(files, "d") == (0, 0)


def test_02_chmod_touches_parents_that_copy_makes(both):
    _, files = built(both, "FROM busybox\nCOPY --chmod=741 f /new/er/\n", files={"f": ""})
    assert {files[path][0].mode & 0o7777 for path in ("new", "new/er", "new/er/f")} == {0o741}


def test_03_workdir_gives_user_every_directory_it_makes(both):
    _, files = built(both, "FROM busybox\nUSER 7:8\nWORKDIR /w/x/y\n")
    assert {owner(files, path) for path in ("w", "w/x", "w/x/y")} == {(7, 8)}


def test_04_volume_makes_no_directory_and_later_writes_stay(both):
    _, files = built(both, "FROM busybox\nVOLUME /v/w\n")
    assert "v" not in files
    _, files = built(both, "FROM busybox\nVOLUME /v\nRUN mkdir /v && echo x > /v/f\nCOPY f /v/g\n", files={"f": "g"})
    assert files["v/f"][1] == b"x\n" and files["v/g"][1] == b"g"


def test_05_hard_links_survive_a_copy_between_stages(both):
    built(both, "FROM busybox AS a\nRUN mkdir /d; echo x > /d/a; ln /d/a /d/b\nFROM scratch\nCOPY --from=a /d /d\n")
    layer = both.image("t").layers[-1]
    assert sorted((layer["d/a"].islnk(), layer["d/b"].islnk())) == [False, True]
    assert layer.read("d/a") == layer.read("d/b") == b"x\n"


def test_06_targets_of_hard_links_in_layers_are_relative(both):
    built(both, "FROM busybox\nRUN mkdir /d; echo x > /d/a; ln /d/a /b\n")
    links = [info.linkname for info in both.image("t").layers[-1].members.values() if info.islnk()]
    assert links and not any(link.startswith("/") for link in links)


def test_07_a_whiteout_stays_one_in_the_cache_and_a_copied_name_becomes_none(both):
    text = "FROM busybox\nRUN echo x > /f\nRUN rm /f\nRUN test ! -e /f && ls -a /\nCOPY d /d\n"
    for turn in range(2):
        refused = both.run_in(text, files={"d/.wh.etc": "mine", "d/x": ""}, code=None)
        assert refused.code and ".wh.etc" in refused.error, "a name that layers cannot say"
        _, files = built(both, text, files={"d/x": ""})
        assert "f" not in files and "etc/passwd" in files and "d/x" in files, turn


def test_08_cached_and_fresh_builds_give_equal_bytes(both):
    text = "FROM busybox\nRUN echo x > /x && mkdir /d && ln /x /d/x && rm /etc/group\nCOPY f /f\nWORKDIR /w/w\n"
    fresh, _ = built(both, text, "--epoch=content", files={"f": "x"})
    hit, _ = built(both, text, "--epoch=content", files={"f": "x"})
    again, _ = built(both, text, "--epoch=content", "--no-cache", files={"f": "x"})
    assert hit.ran == [] and len(again.ran) == 3
    assert fresh.id == hit.id == again.id


def test_09_fields_of_keys_do_not_run_into_each_other(lighter):
    for one, two in (("ENV a=b-c\n", "ENV a-b=c\n"), ("ENV a=1 b=2\n", "ENV a='1 b=2'\n"),
                     ("ENV a=1\nENV b=2\n", "ENV a='1\nb=2'\n".replace("\n", "\\\n", 1))):
        lighter.run_in(f"FROM busybox\n{one}RUN env > /e\n")
        assert lighter.run_in(f"FROM busybox\n{two}RUN env > /e\n").ran == ["RUN env > /e"]
    lighter.run_in('FROM busybox\nRUN ["echo", "a", "b"]\n')
    assert lighter.run_in('FROM busybox\nRUN ["echo", "a b"]\n').ran


def test_10_expanded_variables_are_in_the_keys_of_copy_and_workdir(both):
    for value in ("one", "two"):
        done, files = built(both, "FROM busybox\nARG v\nWORKDIR /w/$v\nCOPY $v ./\n", "--build-arg", f"v={value}",
                            files={"one": "", "two": ""})
        assert len(done.ran) == 2 and f"w/{value}/{value}" in files


def test_11_dockerignore_never_applies_to_from(lighter):
    _, files = built(lighter, "FROM busybox AS a\nRUN mkdir /d && echo > /d/secret\nFROM scratch\nCOPY --from=a /d /d\n",
                     files={".dockerignore": "**\nsecret\n**/secret\n"})
    assert "d/secret" in files


def test_12_the_root_entry_of_an_added_tar_leaves_the_destination_alone(both):
    import tarfile
    root = tarfile.TarInfo(".")
    root.type, root.mode, root.uid = tarfile.DIRTYPE, 0o700, 5
    _, files = built(both, "FROM busybox\nRUN mkdir -m 751 /d\nADD a.tar /d/\nADD a.tar /new/\n",
                     files={"a.tar": tar_of(root, ("f", "file", b"x"))})
    assert files["d"][0].mode & 0o7777 == 0o751 and owner(files, "d") == (0, 0)
    assert "d/f" in files and files["new"][0].mode & 0o7777 == 0o755


def test_13_user_with_a_group_has_that_group_alone(both):
    text = "FROM busybox\nRUN echo me:x:5:6::/:/bin/sh >> /etc/passwd; echo more:x:8:me >> /etc/group\n"
    assert both.run_in(text + "USER me\nRUN echo groups=$(id -G | wc -w)\n").said("groups") == "2"
    done = both.run_in(text + "USER me:7\nRUN echo g=$(id -g); echo groups=$(id -G)\n")
    assert (done.said("g"), done.said("groups")) == ("7", "7")


def test_14_bodies_of_heredocs_expand_unless_quoted(lighter):
    _, files = built(lighter, 'FROM scratch\nARG v=1\nCOPY <<a <<"b" <<-\'c\' /\n$v\na\n$v\nb\n\t$v\n\tc\n')
    assert [files[name][1] for name in "abc"] == [b"1\n", b"$v\n", b"$v\n"]


def test_15_annotations_of_the_base_do_not_leak(bare, busybox_program):
    maker = Maker().image(good_layer(busybox_program), ref="docker.io/t/base:1")
    index = json.loads(maker.files["index.json"])
    entry = index["manifests"][0]
    manifest = json.loads(maker.files["blobs/sha256/" + entry["digest"][7:]])
    manifest["annotations"] = {"leak": "leaked"}
    index["manifests"] = [{**maker.blob(json.dumps(manifest).encode(), manifest["mediaType"]),
                           "annotations": entry["annotations"]}]
    maker.files["index.json"] = json.dumps(index).encode()
    bare("load", input=maker.archive())
    bare.run_in("FROM t/base:1\nLABEL a=b\n", tag="t")
    assert "leak" not in bare.image("t").text()


def test_16_zombies_are_reaped_and_a_step_ends_with_its_command(both):
    done = both.run_in("FROM busybox\nRUN for i in 1 2 3; do (sleep 0 &); done; sleep 0.3;"
                       " echo zombies=$(ps -o stat 2>/dev/null | grep -c Z)\nRUN sleep 1000 & echo over=yes\n", timeout=30)
    assert done.said("zombies") == "0" and done.said("over") == "yes"


# ---- images --------------------------------------------------------------------------------------

def test_18_layers_of_the_base_keep_their_digests_when_times_are_rewritten(both, bases):
    base = Image(bases("busybox"))
    built(both, "FROM busybox\nRUN echo x > /x\n", "--epoch=content")
    image = both.image("t")
    assert image.config["rootfs"]["diff_ids"][:-1] == base.config["rootfs"]["diff_ids"]
    assert [e["digest"] for e in image.manifest["layers"]][:-1] == [e["digest"] for e in base.manifest["layers"]]


def test_19_another_name_for_the_same_layer_packs_nothing_again(bare, busybox_program):
    """The part without registries: an uncompressed and a compressed layer of one content stay what they were."""
    layer = good_layer(busybox_program)
    for media in ("application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.v1.tar+gzip"):
        maker = Maker().image(layer, ref="docker.io/t/base:1", media=media)
        bare("load", input=maker.archive())
        bare.run_in("FROM t/base:1\nLABEL a=b\n", tag="t")
        blobs = {entry["digest"] for entry in bare.image("t").manifest["layers"]}
        assert blobs <= {"sha256:" + path.name for path in (bare.store / "blobs/sha256").iterdir()}
        bare.run_in("FROM t/base:1\nLABEL a=c\n", tag="t2")
        assert {entry["digest"] for entry in bare.image("t2").manifest["layers"]} == blobs


def test_20_one_base_of_five_stages_is_had_once(lighter, lighters, bases):
    """The part without registries: one step, one unpacked copy."""
    text = "".join(f"FROM busybox AS s{i}\nRUN echo {i} > /f{i}\n" for i in range(5)) + "FROM scratch\n" + \
        "".join(f"COPY --from=s{i} /f{i} /\n" for i in range(5))
    lighter.run_in(text)
    several = len(list((lighter.store / "snapshots").iterdir()))
    single = lighters(bases=[bases("busybox")])
    single.run_in("FROM busybox\nRUN echo 0 > /f0\n")
    base_and_one = len(list((single.store / "snapshots").iterdir()))
    assert several == base_and_one + 4 + 5, "four more RUN, five COPY, no more of the base"


def test_21_from_scratch_gives_oci_types(lighter):
    built(lighter, "FROM scratch\nCOPY f /\n", files={"f": ""})
    image = lighter.image("t")
    assert image.manifest["mediaType"] == image.entry["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert image.manifest["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
    assert [entry["mediaType"] for entry in image.manifest["layers"]] == ["application/vnd.oci.image.layer.v1.tar+gzip"]


def test_23_entrypoint_clears_cmd_unless_this_stage_set_it(lighter):
    lighter.run_in('FROM busybox\nCMD ["base"]\n', tag="base:1")
    for text, cmd in (('ENTRYPOINT ["e"]\n', None), ('CMD ["c"]\nENTRYPOINT ["e"]\n', ["c"]),
                      ('ENTRYPOINT ["e"]\nCMD ["c"]\n', ["c"]), ("", ["base"])):
        lighter.run_in("FROM base:1\n" + text, tag="t")
        assert lighter.inspect("t")["Config"].get("Cmd") == cmd, text


def test_24_args_are_in_the_history_of_run_and_secrets_are_stars(lighter):
    lighter.run_in("FROM busybox\nARG a=shown\nRUN --mount=type=secret,id=s,env=S echo x\n", "--secret", "id=s,env=VALUE",
                   env={"VALUE": "hunter2"}, tag="t")
    history = lighter.image("t").created_by[-1]
    assert "a=shown" in history and "hunter2" not in lighter.image("t").text()


def test_25_shell_changes_the_shell_form_of_cmd_and_entrypoint_too(lighter):
    lighter.run_in('FROM busybox\nSHELL ["/bin/ash", "-ec"]\nENTRYPOINT run me\nCMD and me\nRUN echo shell=$0$-\n', tag="t")
    config = lighter.inspect("t")["Config"]
    assert config["Entrypoint"] == ["/bin/ash", "-ec", "run me"] and config["Cmd"] == ["/bin/ash", "-ec", "and me"]
    assert config["Shell"] == ["/bin/ash", "-ec"]


@pytest.mark.parametrize("line, said", [("CMD echo x", True), ('CMD ["echo"]', True), ("ENTRYPOINT echo x", None), ("ENV a=b", None)])
def test_26_cmd_sets_args_escaped_on_linux_too(lighter, line, said):
    lighter.run_in(f"FROM busybox\n{line}\n", tag="t")
    assert lighter.image("t").config["config"].get("ArgsEscaped") is said


def test_27_expose_sorts_before_it_expands(lighter):
    lighter.run_in("FROM busybox\nARG p=80\nEXPOSE 9000 $p 443/UDP 100-102\n", tag="t")
    assert set(lighter.inspect("t")["Config"]["ExposedPorts"]) == \
        {"9000/tcp", "80/tcp", "443/udp", "100/tcp", "101/tcp", "102/tcp"}
    assert "EXPOSE map[$p:{} 100-102:{}" in lighter.image("t").created_by[-1] or \
        "EXPOSE" in lighter.image("t").created_by[-1]


def test_28_from_by_number_counts_stages_and_then_images(lighter):
    lighter.run_in("FROM busybox\nRUN echo other > /f\n", tag="other:1")
    _, files = built(lighter, "FROM busybox\nRUN echo first > /f\nFROM scratch\nCOPY --from=0 /f /a\n"
                              "COPY --from=other:1 /f /b\nCOPY --from=2 /f /c\n")
    assert [files[name][1] for name in "abc"] == [b"first\n", b"other\n", b"other\n"]


def test_29_a_stage_wins_over_an_image_of_its_name(lighter):
    done = lighter.run_in("FROM scratch AS other\nCOPY f /f\nFROM busybox AS alpine\nENV me=stage\nFROM alpine\nRUN echo me=$me\n",
                          files={"f": ""})
    assert done.said("me") == "stage"


def test_30_from_of_a_later_stage_is_an_image(lighter):
    done, files = built(lighter, "FROM busybox AS first\nRUN echo first > /f\nFROM scratch AS busybox\nCOPY --from=first /f /\n")
    assert done.steps and "bin/busybox" not in files


def test_31_a_context_replaces_a_stage_whose_parts_are_broken(lighter):
    named = lighter.context({"f": "x"})
    text = "FROM nosuch AS a\nRUN exit 1\nFROM a AS b\nCOPY --from=nosuch2 / /\nFROM scratch\nCOPY --from=b /f /f\n"
    _, files = built(lighter, text, "--build-context", f"b={named}")
    assert files["f"][1] == b"x"


def test_32_target_is_a_number_too(lighter):
    text = "FROM busybox\nRUN echo stage=0\nFROM busybox\nRUN echo stage=1\nFROM busybox AS n\nRUN exit 1\n"
    assert lighter.run_in(text, "--target", "0").said("stage") == "0"
    assert lighter.run_in(text, "--target", "1").said("stage") == "1"
    refused = lighter.run_in(text, "--target", "3", code=3)
    assert '"3" could not be found' in refused.error


# ---- mounts --------------------------------------------------------------------------------------

def test_33_a_cache_of_another_owner_is_another_cache(both):
    def lines(options):
        return both.run_in(f"FROM busybox\nRUN --mount=type=cache,target=/c{options} echo >> /c/f; echo n=$(wc -l < /c/f)\n",
                           "--no-cache").said("n")
    assert [lines(""), lines(""), lines(",uid=5"), lines(",uid=5"), lines("")] == ["1", "2", "1", "2", "3"]


def test_34_a_mount_point_made_for_a_cache_leaves_no_trace(both):
    """The issue says it stays; the recorded results of today's BuildKit say it goes, and one that was there stays."""
    _, files = built(both, "FROM busybox\nRUN mkdir -m 705 /there\nUSER 5\n"
                           "RUN --mount=type=cache,uid=5,target=/c/d --mount=type=cache,target=/there,uid=5 echo > /c/d/f; echo > /there/f\n")
    assert not [path for path in files if path.startswith(("c/", "there/"))] and "c" not in files
    assert files["there"][0].mode & 0o7777 == 0o705 and owner(files, "there") == (0, 0)


def test_35_writes_to_a_bind_are_lost(both):
    done, files = built(both, "FROM busybox\nRUN --mount=type=bind,rw,target=/m echo new > /m/f; echo f=$(cat /m/f)\n"
                              "RUN --mount=type=bind,rw,target=/m echo later=$(cat /m/f)\n", files={"f": "old"})
    assert (done.said("f"), done.said("later")) == ("new", "old")
    assert "m/f" not in files


def test_36_times_of_directories_are_fixed_where_an_epoch_is(lighter):
    text = "FROM busybox\nRUN mkdir /d && echo x > /d/f\n"
    one, files = built(lighter, text, "--epoch=content", "--no-cache")
    time.sleep(1.1)
    two, _ = built(lighter, text, "--epoch=content", "--no-cache")
    assert one.id == two.id and files["d"][0].mtime == 946684800
    three, _ = built(lighter, text, "--no-cache")
    assert three.id != one.id


def test_37_file_capabilities_are_kept_in_layers_and_keys(lighter, needs_root, needs):
    needs("setcap")
    import subprocess
    context = lighter.context({"f": ("#!/bin/sh\n", 0o755)})
    text = "FROM busybox AS a\nCOPY f /f\nFROM scratch\nCOPY --from=a /f /g\n"
    lighter.build(context, dockerfile=text)
    subprocess.run(["setcap", "cap_net_bind_service+ep", context / "f"], check=True)
    done = lighter.build(context, dockerfile=text, tag="t")
    assert len(done.ran) == 2, "a capability is part of the key"
    assert "security.capability" in xattrs(lighter.image("t").layers[-1]["g"])


def test_38_rare_entries_of_a_base_survive(bare, busybox_program):
    import io
    import tarfile
    out = io.BytesIO()
    long, odd = "l/" + "/".join(["n" * 200] * 3), "odd-\udcff\udcfe"
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape", encoding="utf-8") as tar:
        for name, kind in ((long, tarfile.REGTYPE), (odd, tarfile.REGTYPE), ("fifo", tarfile.FIFOTYPE), ("null", tarfile.CHRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.devmajor, info.devminor = kind, 1, 3
            if kind == tarfile.CHRTYPE and bare.isolation == "rootless":
                continue
            tar.addfile(info)
    bare("load", input=Maker().image(good_layer(busybox_program), out.getvalue(), ref="docker.io/t/odd:1").archive())
    bare.run_in('FROM t/odd:1\nRUN ["/bin/busybox", "cp", "-a", "/l", "/m"]\n', tag="t")
    files = bare.image("t").rootfs()
    assert {long, odd, "fifo", "m/" + long[2:]} <= set(files)
    assert files["fifo"][0].isfifo()


def test_38_a_file_of_more_than_8_gib_is_packed_and_copied(lighter):
    """Sparse, so that it costs no disk; its size does not fit a plain tar header."""
    done = lighter.run_in("FROM busybox AS a\nRUN truncate -s 9G /big\nFROM busybox\n"
                          "RUN --mount=from=a,target=/a echo size=$(stat -c %s /a/big)\n")
    assert done.said("size") == str(9 << 30)


def test_39_a_file_made_anew_in_an_opaque_directory_is_the_only_one(both):
    _, files = built(both, "FROM busybox\nRUN mkdir /d && touch /d/old /d/again\nRUN rm -r /d && mkdir /d && echo x > /d/again\n")
    assert {path for path in files if path.startswith("d/")} == {"d/again"} and files["d/again"][1] == b"x\n"
    done = both.run_in("FROM t\nRUN echo d=$(ls /d)\n")
    assert done.said("d") == "again"


def test_40_a_file_becomes_a_directory_and_a_file_again(both):
    text = "FROM busybox\nRUN echo one > /p\nRUN rm /p && mkdir /p && echo two > /p/f\nRUN rm -r /p && echo three > /p\n"
    _, files = built(both, text)
    assert files["p"][1] == b"three\n" and "p/f" not in files
    _, files = built(both, text + "RUN rm /p && mkdir /p && echo four > /p/g\n")
    assert {path for path in files if path.startswith("p/")} == {"p/g"}


def test_41_a_file_that_a_step_changes_and_restores_is_in_its_layer_if_anything_differs(both):
    """Bytes, time and rights decide, as BuildKit's differ has it, in every mode."""
    restore = "cp -p /f /tmp/k; echo y > /f; cat /tmp/k > /f; rm /tmp/k"
    built(both, "FROM busybox\nRUN echo x > /f; touch -d @1000000000 /f\n"
                f"RUN {restore}; touch -d @1000000000 /f\nRUN {restore}; touch -d @1000000001 /f\n")
    layers = both.image("t").layers[-2:]
    assert "f" not in layers[0].members
    assert layers[1].read("f") == b"x\n" and int(layers[1]["f"].mtime) == 1000000001


def test_42_a_step_that_writes_nothing_has_its_layer(both):
    before = len(Image.layers.fget(both.image("busybox")))
    built(both, "FROM busybox\nRUN true\nENV a=b\nRUN true\n")
    image = both.image("t")
    assert len(image.layers) == before + 2
    assert len([e for e in image.config["history"] if not e.get("empty_layer")]) == len(image.layers)


def test_43_130_layers_are_one_file_system(both):
    text = "FROM busybox\n" + "".join(f"COPY f /d/f{i}\n" for i in range(130)) + "RUN echo files=$(ls /d | wc -l); rm /d/f0\n"
    done, files = built(both, text, files={"f": "x"})
    assert done.said("files") == "130"
    assert "d/f0" not in files and "d/f129" in files


def test_44_a_file_that_changes_while_it_is_copied_is_never_mixed(lighter):
    """A writer swaps two whole versions; what arrives is one of them, or the build says which file changed."""
    import threading
    context = lighter.context({"Dockerfile": "FROM scratch\nCOPY f /f\n"})
    versions, over = [letter * (4 << 20) for letter in (b"a", b"b")], threading.Event()

    def write():
        while not over.is_set():
            for version in versions:
                (context / "new").write_bytes(version)
                os.replace(context / "new", context / "f")
    (context / "f").write_bytes(versions[0])
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(6):
            done = lighter.build(context, "--no-cache", tag="t", code=None)
            if done.code:
                assert "'f'" in done.error or "/f" in done.error or " f" in done.error
            else:
                assert lighter.image("t").rootfs()["f"][1] in versions
    finally:
        over.set()
        writer.join()


def test_45_a_stopped_step_leaves_no_mount_and_no_record(both):
    import signal
    mounted = mounts()
    text = "FROM busybox\nRUN echo begun; sleep 1000\n"
    child = both.start("build", "--isolation", both.isolation, "-f", "-", both.context(), stdin=-1)
    child.stdin.write(text.encode())
    child.stdin.close()
    child.stdin = None
    while b"| begun" not in child.stderr.readline():
        assert child.poll() is None
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=30)
    assert child.returncode == 130 and mounts() == mounted and both.leftovers() == []
    again = both.run_in("FROM busybox\nRUN echo begun; sleep 0\n")
    assert again.ran == ["RUN echo begun; sleep 0"]
