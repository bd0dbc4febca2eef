"""A COPY in which little has changed is written as a difference, and nobody can tell from the image."""

import os
import random
import shutil

import pytest

from harness import Lighter

MANY = {f"src/p{i % 7}/f{i}": f"file {i}" for i in range(400)}


@pytest.fixture(params=["root", "rootless", "single", "chroot"])
def mode(request, lighters, bases):
    return lighters(request.param, bases=[bases("busybox")])


def layers(lighter, context, dockerfile, code=0):
    """The layers of COPY steps, for a RUN's own have the time it ran at; and whether one was a hit."""
    lighter.own(context)
    result = lighter.build(context, dockerfile=dockerfile, tag="out", code=code)
    if result.code:
        return [], True
    ids = lighter.inspect("out")["RootFS"]["Layers"]
    copied = [step.title.startswith("COPY") for step in result.steps if not step.title.startswith("FROM")]
    copied = copied[-len(ids):]
    return [i for i, yes in zip(ids[-len(copied):], copied) if yes], bool(result.ran)


def snapshots(lighter):
    return sorted(int(p.name) for p in (lighter.store / "snapshots").iterdir())


def files_in(lighter, number):
    return [p for p in (lighter.store / "snapshots" / str(number)).rglob("*") if p.is_file()]


# ---- random edits --------------------------------------------------------------------------------

class Editor:
    """Random changes to a tree, as people and tools make them."""

    def __init__(self, top, seed):
        self.top, self.random = top, random.Random(seed)
        self.n = 0

    def pick(self, what):
        found = sorted(p for p in self.top.rglob("*") if what(p))
        return self.random.choice(found) if found else None

    def fresh(self):
        self.n += 1
        return self.random.choice([d for d in sorted([self.top, *self.top.rglob("*")])
                                   if d.is_dir() and not d.is_symlink()]) / f"new{self.n}"

    def edit(self):
        def is_file(p):
            return p.is_file() and not p.is_symlink()

        def is_dir(p):
            return p.is_dir() and not p.is_symlink()

        kind = self.random.choice(["change", "change", "add", "add", "delete", "mode", "touch", "mkdir", "rmtree", "rename",
                                   "to dir", "to file", "symlink", "dirmode", "hardlink", "special"])
        path = self.pick(is_file)
        if kind == "change" and path:
            path.write_text(f"changed {self.random.random()}")
        elif kind == "add":
            self.fresh().write_text(f"added {self.random.random()}")
        elif kind == "delete" and path:
            path.unlink()
        elif kind == "mode" and path:
            path.chmod(self.random.choice([0o600, 0o644, 0o755, 0o4755]))
        elif kind == "touch" and path:
            os.utime(path, (1, 1_000_000_000 + self.random.randrange(10 ** 8)))
        elif kind == "mkdir":
            self.fresh().mkdir()
        elif kind == "rmtree":
            path = self.pick(lambda p: is_dir(p) and len(list(p.rglob("*"))) < 40)
            if path:
                shutil.rmtree(path)
        elif kind == "rename" and path:
            path.rename(self.fresh())
        elif kind == "to dir" and path:
            path.unlink()
            path.mkdir()
            (path / "inside").write_text("x")
        elif kind == "to file":
            path = self.pick(lambda p: is_dir(p) and len(list(p.rglob("*"))) < 40)
            if path:
                shutil.rmtree(path)
                path.write_text("was a directory")
        elif kind == "symlink":
            self.fresh().symlink_to(self.random.choice(["a", "../b", "/etc/passwd"]))
        elif kind == "dirmode":
            path = self.pick(is_dir)
            if path:
                path.chmod(self.random.choice([0o755, 0o700, 0o777]))
        elif kind == "hardlink" and path:
            os.link(path, self.fresh())
        elif kind == "special":
            os.mkfifo(self.fresh())
        return kind


PLACES = {
    "over scratch": "FROM scratch\nCOPY . /all/\n",
    "over a base with the same names": "FROM busybox\nCOPY . /\nRUN true\n",
    "below a link": "FROM busybox\nRUN mkdir /real && ln -s /real /link && echo old >/real/new1 && touch -d '2001-01-01 00:00:00' /real\n"
                    "COPY src /link/\n",
    "with an owner and a mode": "FROM busybox\nWORKDIR /etc\nCOPY --chown=7:8 --chmod=u+x src out\n",
    "out of a stage": "FROM busybox AS b\nCOPY . /in\nFROM busybox\nCOPY --from=b /in /out\n",
    "with something left out": "FROM busybox\nCOPY --exclude=p3 --exclude=**/*1 src /x/\n",
}


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("seed", range(3))
def test_layers_after_random_edits_are_those_of_plain_copies(lighters, bases, where, seed):
    lighter = lighters("root" if os.geteuid() == 0 else "rootless", bases=[bases("busybox")])
    context = lighter.context(MANY | {"etc/passwd": "root:x:0:0::/:/bin/sh\n", "etc/more": "x", "bin/tool": ("x", 0o755)})
    editor = Editor(context, f"{where} {seed}")
    stacked = 0
    for _ in range(8):
        done = [editor.edit() for _ in range(editor.random.randrange(1, 4))]
        before = snapshots(lighter)
        got, ran = layers(lighter, context, PLACES[where], code=None)
        stacked += any(len(files_in(lighter, n)) < 60 for n in set(snapshots(lighter)) - set(before))
        if not ran:  # nothing but times, or nothing that is copied
            continue
        assert got == plain_layers(lighter, bases, context, PLACES[where], code=None), done
    assert stacked > 0 or "RUN" in PLACES[where]


# What another parent may be like where is copied to, and elsewhere; {n} differs each time.
PARENTS = [
    "RUN echo {n} >/elsewhere",
    "RUN echo {n} >/elsewhere && mkdir /all && touch -d @1000000000 /all",
    "RUN mkdir /all && touch -d @10000{n} /all",
    "RUN mkdir -m 07{n}0 /all && touch -d @1000000000 /all",
    "RUN mkdir /all && echo {n} >/all/own && touch -d @1000000000 /all",
    "RUN mkdir -p /all/p3 && chown {n}:{n} /all/p3 && touch -d @1000000000 /all/p3 /all",
    "RUN mkdir -p /all/p3/f{n} && touch -d @1000000000 /all/p3/f{n} /all/p3 /all",
    "RUN mkdir -p /all/p3 && ln -s /etc/p{n} /all/p3/new1 && touch -d @1000000000 /all/p3 /all",
    "RUN mkdir /real{n} && ln -s /real{n} /all && touch -d @1000000000 /real{n}",
    "RUN mkdir -p /all && cd /all && for i in $(seq 1 200); do echo $i >s$i; done && touch -d @1000000000 /all",
]


@pytest.mark.parametrize("seed", range(3))
def test_over_other_parents_layers_are_those_of_plain_copies(lighters, bases, seed):
    lighter = lighters("root" if os.geteuid() == 0 else "rootless", bases=[bases("busybox")])
    context = lighter.context(MANY)
    editor = Editor(context / "src", f"parents {seed}")
    for n in range(10):
        text = f"FROM busybox\n{editor.random.choice(PARENTS).format(n=n % 8)}\nCOPY src /all/\n"
        if n % 3:
            editor.edit()
        got, ran = layers(lighter, context, text, code=None)
        if ran:
            assert got == plain_layers(lighter, bases, context, text, code=None), text


@pytest.mark.parametrize("parent", PARENTS)
def test_a_parent_that_is_the_same_where_is_copied_to_costs_no_copy(mode, bases, parent):
    """Or a whole one, where anything differs there."""
    context = mode.context(MANY)
    text = "FROM busybox\n" + parent + "\nRUN echo {m} >/n; touch -d @1000000000 /\nCOPY src /all/\n"
    layers(mode, context, text.format(n=1, m=1))
    before = snapshots(mode)
    (context / "src/p0/f0").write_text("changed")
    got, _ = layers(mode, context, text.format(n=1, m=2))
    most = max(len(files_in(mode, n)) for n in set(snapshots(mode)) - set(before))
    assert got == plain_layers(mode, bases, context, text.format(n=1, m=2))
    too_many = "seq" in parent
    assert most < 3 or too_many and most >= 400
    before = snapshots(mode)
    layers(mode, context, text.format(n=2, m=2))
    most = max((len(files_in(mode, n)) for n in set(snapshots(mode)) - set(before)), default=0)
    assert most < 3 if too_many or parent.startswith("RUN echo") or "/own" in parent else most >= 400


def plain_layers(lighter, bases, context, dockerfile, code=0):
    """What a store without any memory gives."""
    other = Lighter(lighter.binary, lighter.directory(), lighter.account, lighter.isolation)
    other.load(bases("busybox"))
    try:
        return layers(other, context, dockerfile, code)[0]
    finally:
        shutil.rmtree(other.store, ignore_errors=True)


def tool(lighter, *words, **options):
    return lighter(*words, "--isolation", lighter.isolation, **options)


# ---- single facts --------------------------------------------------------------------------------

ALL = "FROM busybox\nCOPY . /all/\n"


def test_one_edit_writes_one_file(mode, bases):
    context = mode.context(MANY)
    layers(mode, context, ALL)
    before = snapshots(mode)
    (context / "src/p0/f0").write_text("changed")
    got, _ = layers(mode, context, ALL)
    new, = set(snapshots(mode)) - set(before)
    assert len(files_in(mode, new)) == 1
    assert got == plain_layers(mode, bases, context, ALL)


def test_a_step_above_sees_the_whole_copy(mode):
    context = mode.context(MANY)
    text = ALL + "RUN find /all -type f | wc -l >/n; cat /all/src/p0/f0 >/f0; ls /all/src/p1 >/p1; test ! -e /all/gone\n"
    (context / "gone").write_text("x")
    mode.build(context, dockerfile=ALL)
    (context / "src/p0/f0").write_text("changed")
    (context / "src/p1/added").write_text("added")
    (context / "gone").unlink()
    mode.own(context)
    mode.build(context, dockerfile=text, tag="out")
    files = mode.image("out").rootfs()
    assert files["n"][1].strip() == b"401" and files["f0"][1] == b"changed"
    assert b"added" in files["p1"][1] and b"f1\n" in files["p1"][1]


def test_a_file_that_the_base_has_too_comes_to_light_when_it_leaves_the_context(mode, bases):
    context = mode.context(MANY | {"etc/hostname": "ours", "etc/issue": "ours"})
    text = "FROM busybox\nRUN echo base >/etc/hostname; echo base >/etc/issue\nCOPY . /\nRUN cat /etc/issue >/seen\n"
    mode.build(context, dockerfile=text, tag="out")
    (context / "etc/issue").unlink()
    mode.own(context)
    mode.build(context, dockerfile=text, tag="out")
    files = mode.image("out").rootfs()
    assert files["seen"][1] == b"base\n" and files["etc/hostname"][1] == b"ours"


def test_many_edits_never_build_a_high_stack(mode, bases):
    context = mode.context(MANY)
    for i in range(24):
        (context / "src/p0/f0").write_text(f"edit {i}")
        got, _ = layers(mode, context, ALL)
    assert got == plain_layers(mode, bases, context, ALL)
    whole = [n for n in snapshots(mode) if len(files_in(mode, n)) >= 400]
    assert len(whole) >= 2  # it was copied anew in between


def test_going_back_is_a_hit_and_going_on_from_there_works(mode, bases):
    context = mode.context(MANY)
    first, _ = layers(mode, context, ALL)
    (context / "src/p0/f0").write_text("second")
    layers(mode, context, ALL)
    (context / "src/p0/f0").write_text(MANY["src/p0/f0"])
    assert not mode.build(mode.own(context), dockerfile=ALL).ran
    (context / "src/p0/f7").write_text("third")
    assert layers(mode, context, ALL)[0] == plain_layers(mode, bases, context, ALL) != first


def test_what_a_difference_stands_on_stays_as_long_as_it_does(mode, bases):
    context = mode.context(MANY)
    text = "FROM busybox AS b\nCOPY . /all/\nFROM scratch\nCOPY --from=b /all/src/p0/f0 /\n"
    layers(mode, context, text)
    (context / "src/p0/f0").write_text("second")
    layers(mode, context, ALL)
    layers(mode, context, text)
    tool(mode, "prune", "--force", "--filter", "description=COPY . /all/")
    assert tool(mode, "store", "check").code == 0
    (context / "src/p0/f7").write_text("third")
    assert layers(mode, context, ALL)[0] == plain_layers(mode, bases, context, ALL)
    tool(mode, "prune", "--force", "--all")
    assert tool(mode, "store", "check").code == 0


def test_a_part_that_somebody_removed_costs_a_copy(mode, bases):
    context = mode.context(MANY)
    layers(mode, context, ALL)
    whole, = [n for n in snapshots(mode) if len(files_in(mode, n)) >= 400]
    (context / "src/p0/f0").write_text("second")
    layers(mode, context, ALL)
    shutil.rmtree(mode.store / "snapshots" / str(whole))
    got, _ = layers(mode, context, ALL)
    assert got == plain_layers(mode, bases, context, ALL)
    assert len([n for n in snapshots(mode) if len(files_in(mode, n)) >= 400]) == 1


def test_store_check_finds_a_changed_part(mode):
    context = mode.context(MANY)
    layers(mode, context, ALL)
    (context / "src/p0/f0").write_text("second")
    layers(mode, context, ALL)
    assert tool(mode, "store", "check").code == 0
    whole, = [n for n in snapshots(mode) if len(files_in(mode, n)) >= 400]
    path = mode.store / "snapshots" / str(whole) / "all/src/p1/f1"
    path.write_text("changed behind the store's back")
    assert "its files are not those" in tool(mode, "store", "check", code=None).stdout
    tool(mode, "store", "check", "--repair", code=None)
    assert tool(mode, "store", "check").code == 0
    assert "COPY . /all/" in mode.build(context, dockerfile=ALL).ran


def test_a_build_without_cache_takes_nothing_of_an_earlier_copy(mode):
    context = mode.context(MANY)
    layers(mode, context, ALL)
    whole, = [n for n in snapshots(mode) if len(files_in(mode, n)) >= 400]
    (mode.store / "snapshots" / str(whole) / "all/src/p1/f1").write_text("changed behind the store's back")
    mode.build(context, "--no-cache", dockerfile=ALL, tag="out")
    assert mode.image("out").rootfs()["all/src/p1/f1"][1] == MANY["src/p1/f1"].encode()


def test_a_copy_that_is_checked_is_made_from_its_files(mode):
    context = mode.context(MANY)
    layers(mode, context, ALL)
    whole, = [n for n in snapshots(mode) if len(files_in(mode, n)) >= 400]
    assert mode.build(context, "--check-cache=100%", dockerfile=ALL).code == 0
    (mode.store / "snapshots" / str(whole) / "all/src/p1/f1").write_text("changed behind the store's back")
    result = mode.build(context, "--check-cache=100%", dockerfile=ALL, code=None)
    assert any("/all/src/p1/f1 has other content" in w for w in result.warnings)
    before = snapshots(mode)
    (context / "src/p0/f0").write_text("second")
    layers(mode, context, ALL)
    assert len(files_in(mode, max(set(snapshots(mode)) - set(before)))) == 1  # a check is no copy to build on


def test_an_attribute_that_a_directory_has_lost_is_gone(lighters, bases, needs_root):
    lighter = lighters("root", bases=[bases("busybox")])
    context = lighter.context(MANY)
    os.setxattr(context / "src/p0", "user.note", b"x")
    layers(lighter, context, ALL)
    os.removexattr(context / "src/p0", "user.note")
    lighter.build(context, dockerfile=ALL)
    assert not os.listxattr(lighter.store / "snapshots" / str(max(snapshots(lighter))) / "all/src/p0")


def test_a_repair_takes_a_difference_away_with_what_it_stood_on(mode, bases):
    context = mode.context(MANY)
    layers(mode, context, ALL)
    whole, = [n for n in snapshots(mode) if len(files_in(mode, n)) >= 400]
    (context / "src/p0/f0").write_text("second")
    layers(mode, context, ALL)
    shutil.rmtree(mode.store / "snapshots" / str(whole))
    tool(mode, "store", "check", "--repair")
    assert tool(mode, "store", "check").code == 0
    assert "out" not in mode("images").stdout  # its layer cannot be had any more
    (context / "src/p0/f7").write_text("third")
    assert layers(mode, context, ALL)[0] == plain_layers(mode, bases, context, ALL)


def test_a_repair_spares_no_part_of_a_damaged_layer(mode, bases):
    context = mode.context(MANY)
    first = mode.build(context, dockerfile=ALL).id
    whole, = [n for n in snapshots(mode) if len(files_in(mode, n)) >= 400]
    (context / "src/p0/f0").write_text("second")
    layers(mode, context, ALL)
    tool(mode, "rmi", first)  # the step stays, and no image tells any more what it should be
    (mode.store / "snapshots" / str(whole) / "all/src/p1/f1").write_text("changed behind the store's back")
    tool(mode, "store", "check", "--repair")
    (context / "src/p0/f0").write_text(MANY["src/p0/f0"])
    layers(mode, context, ALL)
    assert mode.image("out").rootfs()["all/src/p1/f1"][1] == MANY["src/p1/f1"].encode()


def test_numbers_that_begin_again_with_a_new_database_mislead_nobody(mode, bases):
    context, text = mode.context(MANY), "FROM scratch\nCOPY . /all/\n"
    layers(mode, context, text)
    for path in mode.store.glob("meta.db*"):
        path.unlink()
    mode.load(bases("busybox"))
    tool(mode, "store", "check", "--repair")
    other = mode.context({f"other{i}": str(i) for i in range(300)})
    mode.build(other, dockerfile=text)  # its snapshot has the number that ours had
    (context / "src/p0/f0").write_text("second")
    assert layers(mode, context, text)[0] == plain_layers(mode, bases, context, text)


def test_the_saved_layer_is_the_plain_one_byte_by_byte(mode, bases):
    context = mode.context(MANY)
    layers(mode, context, ALL)
    (context / "src/p0/f0").write_text("second")
    (context / "src/p5/f5").unlink()
    layers(mode, context, ALL)
    one = mode.image("out").layers[-1]
    other = Lighter(mode.binary, mode.directory(), mode.account, mode.isolation)
    other.load(bases("busybox"))
    layers(other, context, ALL)
    two = other.image("out").layers[-1]
    assert one.bytes == two.bytes and one.packed == two.packed
