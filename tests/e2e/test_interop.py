"""Other tools take what lighter writes, and lighter takes it back unchanged."""

import json
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

from harness import IS_ROOT, Image, Layer, remove, tree_of

DOCKERFILE = """\
FROM busybox
COPY f /copied/
RUN mkdir /made && echo made >/made/x && rm /etc/group && rm -rf /usr/share/standin && \
    mkdir /usr/share/standin && ln /made/x /made/hard && ln -s x /made/soft && \
    chown 12:34 /made/x && chmod 4755 /made/x && mkdir /made/sticky && chmod 1777 /made/sticky
ENV GREETING=hello
WORKDIR /made
LABEL kind=interop
CMD ["sh", "-c", "echo $GREETING from $PWD; cat x"]
"""
REF = "docker.io/library/shared:latest"


@pytest.fixture(params=["root", "rootless"])
def built(request, lighters, bases):
    """An image, by root and by an ordinary user."""
    lighter = lighters(request.param, bases=[bases("busybox")])
    lighter.build(lighter.context({"f": "from the context\n"}), dockerfile=DOCKERFILE, tag="shared")
    return lighter


def ask(*words, account=None, **options):
    """What another tool prints; with an account, asked by that user."""
    if account:
        options.update(account.popen(), env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"})
    done = subprocess.run([str(word) for word in words], check=False, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL, **options)
    assert done.returncode == 0, f"{words[0]} failed:\n{done.stdout}{done.stderr}"
    return done.stdout


# ---- skopeo --------------------------------------------------------------------------------------

def test_skopeo_reads_the_archive_and_the_layout(built, needs):
    needs("skopeo")
    out = built.directory()
    built.save("shared", out / "archive.tar")
    built.save("shared", out / "layout", "oci-dir")
    for source in (f"oci-archive:{out}/archive.tar", f"oci-archive:{out}/archive.tar:{REF}",
                   f"oci:{out}/layout", f"oci:{out}/layout:{REF}"):
        seen = json.loads(ask("skopeo", "inspect", source, account=built.account))
        assert len(seen["Layers"]) == 5
        assert seen["Labels"] == {"kind": "interop"}
        assert "GREETING=hello" in seen["Env"]
        assert (seen["Os"], seen["Digest"]) == ("linux", Image(out / "layout").digest)


def test_skopeo_copies_every_blob_with_its_digest(built, needs, temp):
    needs("skopeo")
    layout = built.image("shared").layout
    ask("skopeo", "copy", "-q", f"oci:{layout}:{REF}", f"dir:{temp}/copy")
    manifest = json.loads((temp / "copy" / "manifest.json").read_text())
    assert manifest == Image(layout).manifest


def test_the_store_itself_is_a_layout_that_skopeo_reads(built, needs):
    needs("skopeo")
    digest = built.image("shared").digest
    assert json.loads(ask("skopeo", "inspect", f"oci:{built.store}:{REF}"))["Digest"] == digest
    assert json.loads(ask("skopeo", "inspect", f"oci:{built.store}:docker.io/library/busybox:latest"))


def test_the_stores_index_names_only_whole_images(built):
    built.image("shared")
    for entry in json.loads((built.store / "index.json").read_text())["manifests"]:
        name = entry["annotations"]["org.opencontainers.image.ref.name"]
        assert Image(built.store, name).layers


# ---- umoci ---------------------------------------------------------------------------------------

def unpacked(layout, ref, bundle):
    if not IS_ROOT:
        pytest.skip("umoci unpack keeps owners only for root")
    ask("umoci", "unpack", "--image", f"{layout}:{ref}", bundle)
    return Path(bundle) / "rootfs"


def test_umoci_unpacks_the_files_that_the_layers_say(built, needs, temp):
    needs("umoci")
    image = built.image("shared")
    root = unpacked(image.layout, REF, temp / "bundle")
    expected = image.rootfs()
    found = {str(path.relative_to(root)): path.lstat() for path in root.rglob("*")}
    assert sorted(found) == sorted(expected)
    for path in ("made/x", "made/hard", "made/sticky", "copied", "copied/f", "etc/passwd"):
        info, _ = expected[path]
        st = found[path]
        assert (st.st_uid, st.st_gid, st.st_mode & 0o7777) == \
            (info.uid, info.gid, info.mode & 0o7777), path
    assert os.path.samefile(root / "made" / "x", root / "made" / "hard")
    assert os.readlink(root / "made" / "soft") == "x"
    assert (root / "copied" / "f").read_text() == "from the context\n"
    assert not list((root / "usr" / "share" / "standin").iterdir())


def test_what_umoci_unpacks_is_what_lighter_runs_on(built, needs, temp):
    needs("umoci")
    root = unpacked(built.image("shared").layout, REF, temp / "bundle")
    said = built.run("shared", "sh", "-c", "cd /; find . -xdev ! -path './proc*' ! -path './sys*' "
                     "! -path './dev*' | sort").stdout.splitlines()
    seen = sorted("./" + str(path.relative_to(root)) if str(path) != str(root) else "."
                  for path in [root, *root.rglob("*")])
    own = {"./etc/hosts", "./etc/resolv.conf", "./etc"}  # mounted over, in the sandbox
    outside = [p for p in seen if not p.startswith(("./proc", "./sys", "./dev"))]
    assert sorted(set(said) - own) == sorted(set(outside) - own)


# ---- containers ----------------------------------------------------------------------------------

PRIVATE = "umount /sys/fs/cgroup/unified 2>/dev/null; "  # crun refuses the hybrid cgroup layout
LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=512:512")


class Podman:
    """podman with storage of its own, in a mount namespace of its own."""

    def __init__(self, place, account=None):
        self.place, self.account = place, account
        self.words = ["podman", "--root", f"{place}/root", "--runroot", f"{place}/run",
                      "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]

    def script(self, *commands):
        """Run podman commands one after the other; gives the last one's output."""
        lines = ["set -e"] + [" ".join(f"'{w}'" for w in [*self.words, *c]) for c in commands]
        script = self.place / "script"
        script.write_text("\n".join(lines) + "\n")
        script.chmod(0o755)
        inner = f"sh {script}"
        if self.account:
            inner = (f"exec setpriv --reuid {self.account.uid} --regid {self.account.gid} "
                     f"--clear-groups sh {script}")
        env = {"PATH": os.environ["PATH"], "HOME": str(self.place),
               "XDG_RUNTIME_DIR": str(self.place)}
        words = ["sh", "-c", inner]
        if IS_ROOT:
            words = ["unshare", "-m", "sh", "-c", PRIVATE + inner]
        return subprocess.run(words, check=False, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, env=env, stdin=subprocess.DEVNULL, timeout=120)


@pytest.fixture
def short_place():
    """podman refuses a runroot of more than 50 characters."""
    path = Path(tempfile.mkdtemp(prefix="le-"))
    path.chmod(0o755)
    yield path
    remove(path)


@pytest.fixture(scope="module")
def known_good(module_lighters, bases, busybox_program):
    """An archive of an image from nothing, to learn whether podman can run anything here."""
    lighter = module_lighters()
    program = lighter.context({"busybox": (busybox_program, 0o755)})
    lighter.build(program, dockerfile='FROM scratch\nCOPY busybox /bin/\nCMD ["/bin/busybox", "true"]',
                  tag="good")
    out = lighter.directory()
    lighter.save("good", out / "good.tar")
    (out / "good.tar").chmod(0o644)
    return out / "good.tar"


def podman_or_skip(known_good, place, account):
    one = Podman(place, account)
    tried = one.script(("load", "-q", "-i", known_good),
                       ("run", "--rm", "--cgroups=disabled", "--network=host", *LIMITS, "good"))
    if tried.returncode:
        one.script(("system", "migrate"))
        pytest.skip("podman cannot run a container here: " + tried.stderr.strip().split("\n")[-1])
    return one


@pytest.mark.parametrize("mode", ["root", "rootless"])
def test_podman_loads_and_runs_the_image(mode, lighters, bases, known_good, needs, short_place,
                                         request):
    needs("podman", "unshare", "setpriv")
    lighter = lighters(mode, bases=[bases("alpine")])
    lighter.build(lighter.context({"f": "1"}), tag="shared", dockerfile=DOCKERFILE.replace(
        "FROM busybox", "FROM alpine"))
    account = request.getfixturevalue("account") if mode == "rootless" else None
    lighter.own(short_place)
    podman = podman_or_skip(known_good, short_place, account)
    out = lighter.directory()
    lighter.save("shared", out / "archive.tar")
    done = podman.script(("load", "-q", "-i", out / "archive.tar"),
                         ("image", "inspect", "--format", "{{.Id}}", "shared"),
                         ("run", "--rm", "--cgroups=disabled", "--network=host", *LIMITS, "shared"))
    podman.script(("system", "migrate"))  # ends podman's pause process
    assert done.returncode == 0, done.stderr
    assert lighter.inspect("shared")["Id"].split(":")[1] in done.stdout
    assert done.stdout.endswith("hello from /made\nmade\n")


def test_crun_runs_the_unpacked_image(built, needs, needs_root, temp):
    needs("crun", "umoci", "unshare")
    unpacked(built.image("shared").layout, REF, temp / "bundle")
    spec = json.loads((temp / "bundle" / "config.json").read_text())
    spec["process"]["terminal"] = False
    spec["process"].pop("rlimits", None)
    spec["linux"].pop("resources", None)
    spec["linux"]["namespaces"] = [n for n in spec["linux"]["namespaces"]
                                   if n["type"] in ("mount", "pid", "ipc", "uts")]
    spec["mounts"] = [m for m in spec["mounts"]
                      if m["type"] != "cgroup" and m["destination"] != "/sys"]
    (temp / "bundle" / "config.json").write_text(json.dumps(spec))
    words = ["crun", "--root", f"{temp}/state", "--cgroup-manager=disabled", "run", "-b",
             f"{temp}/bundle", f"lighter-e2e-{os.getpid()}"]
    done = subprocess.run(["unshare", "-m", "sh", "-c", PRIVATE + " ".join(words)], check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode and "cgroup" in done.stderr:
        pytest.skip("crun cannot run a container here: " + done.stderr.strip())
    assert (done.returncode, done.stdout) == (0, "hello from /made\nmade\n"), done.stderr


# ---- round trips ---------------------------------------------------------------------------------

@pytest.mark.parametrize("form", ["oci-archive", "oci-dir"])
def test_save_and_load_keep_image_id_and_digests(built, lighters, form):
    out = built.directory() / "saved"
    built.save("shared", out, form)
    other = lighters(built.isolation)
    loaded = other.load(out)
    assert REF in loaded.stdout
    a, b = built.inspect("shared"), other.inspect("shared")
    assert a == b
    assert built.image("shared").manifest == other.image("shared").manifest
    assert built.image("shared").digest == other.image("shared").digest


def test_a_loaded_image_is_a_base_and_its_steps_run(built, lighters):
    out = built.directory() / "saved.tar"
    built.save("shared", out)
    other = lighters(built.isolation)
    other.load(out)
    said = other.run_in("FROM shared\nRUN echo x=$(cat x) g=$GREETING; ls /etc/group || echo gone=yes\n")
    assert said.said("x") == "made g=hello"
    assert said.said("gone") == "yes"


def test_an_archive_comes_through_pipes(built, lighters):
    child = built.start("save", "--isolation", built.isolation, "shared")
    data, _ = child.communicate()
    assert child.returncode == 0
    other = lighters(built.isolation)
    assert REF in other("load", input=data).stdout


@pytest.mark.parametrize("squeeze", ["gzip", "zstd"])
def test_a_compressed_archive_is_loaded(built, lighters, squeeze, needs):
    needs(squeeze)
    out = built.directory()
    built.save("shared", out / "a.tar")
    data = subprocess.run([squeeze, "-c", str(out / "a.tar")], check=True,
                          stdout=subprocess.PIPE).stdout
    (out / "squeezed").write_bytes(data)
    other = lighters(built.isolation)
    other.load(out / "squeezed")
    assert other.inspect("shared")["Id"] == built.inspect("shared")["Id"]


def test_an_archive_that_skopeo_wrote_is_loaded(built, lighters, needs, temp):
    needs("skopeo")
    layout = built.image("shared").layout
    ask("skopeo", "copy", "-q", f"oci:{layout}:{REF}", f"oci-archive:{temp}/s.tar:{REF}")
    (temp / "s.tar").chmod(0o644)
    other = lighters(built.isolation)
    other.load(temp / "s.tar")
    assert other.inspect("shared")["Id"] == built.inspect("shared")["Id"]


def test_two_images_in_one_archive_share_their_layers(built, lighters):
    built.run_in("FROM shared\nRUN echo 2 >/two\n", tag="second:v2")
    out = built.directory() / "both.tar"
    built("save", "--isolation", built.isolation, "-o", out, "shared", "second:v2")
    with tarfile.open(out) as tar:
        names = tar.getnames()
    assert len(names) == len(set(names))
    other = lighters(built.isolation)
    other.load(out)
    assert {(row["repo"], row["tag"]) for row in other.images()} == \
        {("shared", "latest"), ("second", "v2")}


def test_saving_twice_gives_the_same_bytes(built):
    out = built.directory()
    built.save("shared", out / "1.tar")
    built.save("shared", out / "2.tar")
    assert (out / "1.tar").read_bytes() == (out / "2.tar").read_bytes()


def test_build_output_is_what_save_gives(built):
    out = built.directory()
    context = built.context({"Dockerfile": "FROM shared\nRUN touch /x\n"})
    built.build(context, "-o", f"type=oci,dest={out}/o.tar", "-o",
                f"type=oci,tar=false,dest={out}/o", tag="output")
    built.save("output", out / "s.tar")
    assert (out / "o.tar").read_bytes() == (out / "s.tar").read_bytes()
    assert Image(out / "o").digest == built.image("output").digest


def test_an_archive_belongs_to_the_caller_with_the_callers_umask(built):
    out = built.directory()
    built.save("shared", out / "a.tar", umask=0o027)
    st = (out / "a.tar").stat()
    assert st.st_uid == out.stat().st_uid
    assert st.st_mode & 0o777 == 0o640


def test_saving_over_a_file_that_is_no_archive_of_ours_leaves_no_half_of_it(built):
    out = built.directory()
    (out / "keep.tar").write_text("precious")
    built.own(out)
    built.save("nosuchimage", out / "keep.tar", code=2)
    assert (out / "keep.tar").read_text() == "precious"
    assert list(tree_of(out)) == [str(out / "keep.tar")]


def test_a_layer_is_the_same_gzip_for_any_reader(built, needs):
    needs("gzip")
    for layer in built.image("shared").layers:
        plain = subprocess.run(["gzip", "-dc"], input=layer.packed, check=True,
                               stdout=subprocess.PIPE).stdout
        assert plain == layer.bytes


# ---- the bases themselves ------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["busybox", "alpine", "golang"])
def test_hard_links_of_a_base_carry_the_mode_of_their_file(bases, name):
    """podman gives a file the mode of the last link to it, so a wrong one makes it unusable."""
    wrong = []
    for layer in Image(bases(name)).layers:
        assert isinstance(layer, Layer)
        for path, info in layer.members.items():
            if info.islnk() and info.mode != layer[info.linkname].mode:
                wrong.append(path)
    assert wrong == []


