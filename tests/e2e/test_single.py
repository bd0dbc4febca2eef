"""Mode `single`: one id, and yet every owner, node and identity as in mode `root`.

Each build is done in both modes and the images must be the same to the digest. As an ordinary user
there is no mode `root` to compare with; what the mode alone must do is tested then as well.
"""

import os
import shutil
import stat
import subprocess

import pytest

from harness import xattrs

CAPABILITY = "security.capability"


@pytest.fixture(scope="module")
def made_with(module_lighters, bases):
    """The lighter of a mode with a base, which is large and unpacked once for all tests here."""
    known = {}

    def make(mode, base):
        if (mode, base) not in known:
            known[mode, base] = module_lighters(mode)
            known[mode, base].load(bases(base), "-t", base)
        return known[mode, base]
    return make


@pytest.fixture
def single(made_with):
    return made_with("single", "alpine-real")


@pytest.fixture
def debian(made_with):
    return made_with("single", "golang-cgo")


@pytest.fixture
def both(made_with, needs_root):
    """Build a Dockerfile text in both modes; the images are equal, and one is returned."""
    def build(dockerfile, files=None, base="alpine-real"):
        made = []
        for mode in ("root", "single"):
            lighter = made_with(mode, base)
            lighter.run_in(dockerfile, "--epoch=content", files=files, tag="same")
            made.append(lighter.image("same"))
        root, one = made
        for mine, theirs in zip(one.layers, root.layers):
            assert facts(mine) == facts(theirs)
        assert one.digest == root.digest
        return one
    return build


def facts(layer):
    return {name: (info.type, oct(info.mode), info.uid, info.gid, info.linkname, info.devmajor,
                   info.devminor, info.size, xattrs(info))
            for name, info in layer.members.items()}


def owners(image, *paths):
    files = image.rootfs()
    return [(files[path][0].uid, files[path][0].gid) for path in paths]


# ---- remembered, and in the layers -----------------------------------------------------------------

def test_owners_of_every_type_of_file_are_in_the_layers(both):
    image = both("""\
FROM alpine-real
RUN mkdir -p /t/d && echo 1 >/t/d/f && ln /t/d/f /t/d/hard && ln -s f /t/d/soft && mkfifo /t/pipe
RUN chown -R 100:101 /t && chown -h 3:4 /t/d/soft && chown 5:6 /t/pipe
""")
    assert owners(image, "t", "t/d/f", "t/d/hard", "t/d/soft", "t/pipe") == \
        [(100, 101), (100, 101), (100, 101), (3, 4), (5, 6)]


def test_links_and_fifos_keep_their_owner_when_a_later_step_moves_them(both):
    image = both("""\
FROM alpine-real
RUN mkdir /t && ln -s x /t/a && ln -s x /t/b && ln -s x /t/c && mkfifo /t/p && chown -h 3:4 /t/*
RUN mv /t/a /t/a2 && ln /t/b /t/b2 && touch -h /t/c && mv /t/p /t/p2 && ln -s y /t/new
RUN cp -a /t /u && rm /t/c && ln -s x /t/c
""")
    names = ["t/a2", "t/b", "t/b2", "t/p2", "u/a2", "u/b", "u/c", "u/p2"]
    assert owners(image, *names) == [(3, 4)] * len(names)
    assert owners(image, "t/c", "t/new", "u/new") == [(0, 0)] * 3


def test_device_nodes_are_in_the_layers_and_copied_by_tools(both):
    image = both("""\
FROM alpine-real
RUN mkdir /n && mknod -m 640 /n/null c 1 3 && mknod /n/loop b 7 9 && chown 0:6 /n/loop
RUN test -c /n/null && test -b /n/loop && cp -a /n /m && tar cf /x.tar -C / n && mkdir /y && \\
    tar xf /x.tar -C /y && rm /x.tar && mv /m/null /m/moved
FROM alpine-real
COPY --from=0 /m /copied
""")
    files = image.rootfs()
    assert files["copied/moved"][0].ischr() and files["copied/loop"][0].isblk()
    assert (files["copied/loop"][0].devmajor, files["copied/loop"][0].devminor) == (7, 9)
    assert (files["copied/loop"][0].gid, files["copied/moved"][0].mode) == (6, 0o640)


def test_a_change_of_owner_takes_setuid_bits_and_capabilities_away(both):
    both("""\
FROM alpine-real
RUN cp /bin/busybox /a && chmod 6755 /a && cp /a /b && chmod 2644 /b && mkdir -m 2775 /c
RUN chown 7:7 /a /b /c && install -o 33 -g 34 -m 4755 /bin/busybox /d
""")


def test_a_change_to_the_same_owner_is_in_no_layer_in_any_mode(both):
    image = both("FROM alpine-real\nRUN chown 0:0 /etc/passwd && chown :shadow /etc/shadow && chown -R 0:0 /etc/apk && touch /made\n")
    assert image.layers[-1].names() == ["made"]


def test_a_new_file_has_the_group_of_a_setgid_directory(both):
    image = both("""\
FROM alpine-real
RUN install -d -o 55 -g 66 -m 2770 /shared && touch /shared/f && mkdir /shared/d && ln -s f /shared/l
""")
    assert owners(image, "shared/f", "shared/d", "shared/l") == [(0, 66)] * 3


def test_copied_and_unpacked_owners_are_remembered(both, needs):
    needs("tar")
    made = subprocess.run(["tar", "-c", "--owner=41", "--group=42", "--mtime=@1", "/etc/hostname"],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
    image = both("""\
FROM alpine-real AS one
RUN mkdir /o && ln -s a /o/l && touch /o/a && chown -h 13:14 /o/l /o/a
FROM alpine-real
COPY --from=one /o /copied
COPY --chown=77:78 x /given
ADD x.tar /unpacked/
RUN test "$(stat -c %u:%g /copied/l /copied/a /given /unpacked/etc/hostname | tr '\\n' ' ')" = \\
    "13:14 13:14 77:78 41:42 "
""", files={"x": "x", "x.tar": made})
    assert owners(image, "copied/l", "given") == [(13, 14), (77, 78)]


def test_a_stage_mounted_in_a_step_can_be_copied(both):
    """What is remembered of its links is ours and not seen in the mount."""
    image = both("""\
FROM alpine-real AS one
RUN mkdir /o && ln -s a /o/l && touch /o/a && chown -h 13:14 /o/l /o/a
FROM scratch AS two
COPY --from=one /o /
FROM alpine-real
RUN --mount=type=bind,from=two,target=/m ls -A /m >/seen && cp -a /m/a /copy
RUN --mount=type=bind,from=two,target=/m,rw ls -A /m >/seen2 && ls -A / >/seen3
""")
    assert image.layers[-2].read("seen") == image.layers[-1].read("seen2") == b"a\nl\n"
    assert owners(image, "copy") == [(13, 14)]


# ---- seen by commands ------------------------------------------------------------------------------

def test_owners_are_seen_in_the_same_and_in_later_steps(single):
    said = single.run_in("""\
FROM alpine-real
RUN touch /f && ln -s f /l && chown 7:8 /f && chown -h 9:10 /l && \\
    echo same=$(stat -c %u:%g /f) $(stat -c %u:%g /l)
RUN echo later=$(stat -c %u:%g /f) $(stat -c %u:%g /l) $(stat -L -c %u:%g /l)
RUN mkdir /jail && cp -a /bin /lib /jail && chown 3 /jail/bin/busybox && \\
    echo jail=$(chroot /jail /bin/sh -c 'cd bin; stat -c %u busybox ../bin/busybox /bin/busybox; stat -Lc %u sh')
RUN echo base=$(stat -c %u:%G /etc/shadow) null=$(stat -c %u /dev/null) proc=$(stat -c %u /proc)
""")
    assert said.said("same") == "7:8 9:10"
    assert said.said("later") == "7:8 9:10 7:8"
    assert said.said("jail") == "3 3 3 3"
    assert said.said("base") == "0:shadow null=0 proc=0"


def test_fast_owners_are_written_but_not_seen(single):
    made = single.run_in("FROM alpine-real\nRUN touch /f && chown 7:8 /f && echo seen=$(stat -c %u /f)\n",
                         "--owners=fast", tag="fast")
    assert made.said("seen") == "0"
    assert owners(single.image("fast"), "f") == [(7, 8)]
    again = single.run_in("FROM alpine-real\nRUN touch /f && chown 7:8 /f && echo seen=$(stat -c %u /f)\n")
    assert again.said("seen") == "7"
    assert "slow" in single.run_in("FROM alpine-real\n", "--owners=slow", code=2).error


def test_our_attribute_is_not_shown_and_cannot_be_forged(debian):
    """Nor does a layer show it."""
    script = """\
my ($file, $name, $value, $list) = ("/f", "user.containers.lighter_owner", "1:1", "\\0" x 4096);
my $set = syscall(188, $file, $name, $value, 3, 0);
my $n = syscall(194, $file, $list, 4096);
print "set=$set\\nlist=", substr($list, 0, $n), "\\n";
"""
    made = debian.run_in("FROM golang-cgo\nCOPY x.pl /\nRUN touch /f && chown 7:8 /f && perl /x.pl\n",
                         files={"x.pl": script}, tag="hidden")
    assert made.said("set") == "-1"
    assert made.said("list") == ""
    image = debian.image("hidden")
    assert owners(image, "f") == [(7, 8)]
    assert b"lighter_owner" not in image.layers[-1].bytes


# ---- who a process is --------------------------------------------------------------------------------

def test_user_switches_are_seen_by_children_and_own_what_they_make(both):
    image = both("""\
FROM alpine-real
RUN adduser -D -u 1234 joe && su joe -c 'test "$(id -u)$(id -un)" = 1234joe && touch ~/f && \\
    mkdir ~/d && ln -s f ~/l && mkfifo ~/p && (umask 077; sh -c "echo 1 >~/d/private") && \\
    cp ~/f ~/d/copy && mv ~/f ~/moved' && touch /home/joe/root && test "$(id -u)" = 0
""")
    assert owners(image, "home/joe/moved", "home/joe/d", "home/joe/l", "home/joe/p",
                  "home/joe/d/private", "home/joe/d/copy", "home/joe/root") == \
        [(1234, 1234)] * 6 + [(0, 1234)]  # alpine's homes are setgid


def test_a_step_of_another_user_owns_what_it_makes_and_may_not_give_it_away(both):
    image = both("""\
FROM alpine-real
RUN adduser -D -u 1234 joe && addgroup -g 77 team && adduser joe team
USER joe
WORKDIR /home/joe
RUN test "$(id -G)" = "1234 77" && touch a b && chgrp team a && ! chown 0 b && ! mknod n c 1 3 && \\
    ! su -c true && ! chown 1234 /etc/passwd
USER 4321:99
RUN test "$(id -u):$(id -g)" = 4321:99 && mkdir /tmp/mine
""")
    assert owners(image, "home/joe/a", "home/joe/b", "tmp/mine") == \
        [(1234, 77), (1234, 1234), (4321, 99)]
    assert owners(image, "etc/passwd") == [(0, 0)]


def test_a_setuid_program_runs_as_its_owner(both):
    image = both("""\
FROM golang-cgo
RUN printf '#!/bin/sh\\ntouch /open/script' >/script && chmod 6755 /script && mkdir -m 777 /open && \\
    cp /bin/touch /asroot && chmod 4755 /asroot && \\
    cp /bin/touch /asgroup && chown 0:55 /asgroup && chmod 2755 /asgroup
USER 1000:1000
RUN cd /open && /asroot root && /asgroup group && touch plain && /script
""", base="golang-cgo")
    assert owners(image, "open/root", "open/group", "open/plain", "open/script") == \
        [(0, 1000), (1000, 55), (1000, 1000), (1000, 1000)]


def test_a_daemon_whose_parents_are_gone_is_still_who_it_became(single):
    said = single.run_in("""\
FROM alpine-real
RUN adduser -D -u 1234 joe && su joe -c '(sh -c "sleep 0.2; id -u >/tmp/who" &) ' && \\
    while ! test -s /tmp/who; do sleep 0.1; done; echo who=$(cat /tmp/who):$(stat -c %u /tmp/who)
""")
    assert said.said("who") == "1234:1234"


# ---- packages ----------------------------------------------------------------------------------------

CAP = """\
my ($file, $name, $v) = ("/opt/capped", "security.capability", pack("V5", 0x02000001, 0x1000, 0, 0, 0));
exit(syscall(188, $file, $name, $v, 20, 0) != 0);
"""
DEBIAN = """\
FROM golang-cgo
COPY cap.pl /
RUN chmod 2775 /opt && chown :50 /opt && useradd -m -G games joe && cp /bin/true /opt/capped && \\
    perl /cap.pl && \\
    cp -a /opt/capped /opt/copy && cp --preserve=all /opt/capped /opt/copy2 && cp /opt/capped /opt/gone && \\
    chown 5 /opt/copy2
RUN mkdir -p /pkg/DEBIAN /pkg/usr/bin /pkg/var/lib/pkg /pkg/etc/pkg && cp /bin/true /pkg/usr/bin/pkg && \\
    chmod 4755 /pkg/usr/bin/pkg && chown 33:34 /pkg/var/lib/pkg && ln -s pkg /pkg/usr/bin/alias && \\
    printf 'Package: pkg\\nVersion: 1\\nArchitecture: all\\nMaintainer: a <a@b>\\nDescription: x\\n' \\
      >/pkg/DEBIAN/control && \\
    printf '#!/bin/sh\\nuseradd -r -u 555 pkguser; chown -R pkguser:games /etc/pkg /var/lib/pkg\\n' \\
      >/pkg/DEBIAN/postinst && chmod 755 /pkg/DEBIAN/postinst && dpkg-deb -b /pkg /pkg.deb && \\
    dpkg -i /pkg.deb && rm -r /pkg /pkg.deb /var/log/* /var/cache/ldconfig /var/lib/dpkg/info/*.md5sums
"""


def test_a_debian_package_with_its_own_user_is_installed_alike(both):
    image = both(DEBIAN, files={"cap.pl": CAP}, base="golang-cgo")
    files = image.rootfs()
    assert owners(image, "etc/pkg", "var/lib/pkg", "home/joe") == [(555, 60), (555, 60), (1000, 1000)]
    assert files["usr/bin/pkg"][0].mode & stat.S_ISUID
    capped = [name for name in ("opt/capped", "opt/copy", "opt/copy2", "opt/gone")
              if CAPABILITY in xattrs(files[name][0])]
    assert capped == ["opt/capped", "opt/copy"]


def test_apk_packages_are_installed_alike(both):
    both("FROM alpine-real\nRUN apk add --no-cache git && rm -rf /var/log /lib/apk/db/scripts.tar\n")


# ---- the mode ------------------------------------------------------------------------------------------

def test_no_file_of_the_store_belongs_to_anybody_else(single):
    single.run_in("FROM alpine-real\nRUN touch /f && chown 7:8 /f\n")
    seen = {os.lstat(os.path.join(top, name)).st_uid
            for top, dirs, files in os.walk(single.store) for name in dirs + files}
    assert seen == {single.account.uid if single.account else os.getuid()}


def test_auto_takes_the_mode_where_there_are_no_subordinate_ids(single, needs_root):
    single.isolation = None
    single.run_in("FROM alpine-real\nRUN chown 7 /etc/passwd\n", tag="auto")
    single.isolation = "single"
    assert owners(single.image("auto"), "etc/passwd") == [(7, 0)]


def test_a_store_of_another_mode_is_refused(single, needs_root):
    single.run_in("FROM alpine-real\nRUN true\n")
    refused = single("build", "--isolation=single", single.context({"Dockerfile": "FROM alpine-real\n"}),
                     user=0, group=0, code=None)
    assert refused.code in (6, 7)
    assert str(single.store) in refused.error


# ---- hostile -------------------------------------------------------------------------------------------

HOSTILE = """\
# chown of what only the warden could reach by name, and nonsense
for my $p (glob("/proc/1/fd/*"), "/proc/1/exe", "/proc/1/root/etc/passwd", "/proc/1/cwd",
           "/proc/self/exe", "/proc/self/fd/99", "/proc/self/root/../../../../etc/passwd") {
  my $name = $p;
  my $r = syscall(92, $name, 7, 7);
  print "$p=$r\\n";
}
my $x = "x";
my @calls = ([92, 1, 7, 7], [92, -1, 7, 7], [93, 9999, 7, 7], [4, 1, 1], [262, 9999, $x, 1, 0],
             [257, 9999, $x, 0100, 0600], [116, 1 << 20, 1], [188, 1, 1, 1, 1 << 30, 0], [59, 1, 1, 1],
             [117, 1 << 20, -1, 7], [437, -100, $x, 1, 24], [332, 9999, $x, -1, -1, 1]);
syscall(@$_) for map { my @c = @$_; [@c] } @calls;
print "alive=yes\\n";
"""


def test_nothing_outside_the_root_is_reached_by_a_name_in_proc(debian, monkeypatch):
    """Init executes lighter, whose file the caller here owns and could give away."""
    mine = debian.directory() / "lighter"
    shutil.copy(debian.binary, mine)
    debian.own(mine.parent)
    monkeypatch.setattr(debian, "binary", str(mine))
    before = os.stat(mine)
    made = debian.run_in("FROM golang-cgo\nCOPY x.pl /\nRUN perl /x.pl\n", files={"x.pl": HOSTILE})
    assert made.said("alive") == "yes"
    assert made.said("/proc/1/exe") == "-1"
    assert os.stat(mine).st_ctime_ns == before.st_ctime_ns, "the step reached lighter's own file"
    assert not os.listxattr(mine)


def test_links_that_change_during_a_call_lead_nowhere_else(debian):
    """Paths that change between the call and its answer: the step ends, and only its root changed."""
    outside = debian.directory()
    (outside / "f").write_text("x")
    debian.own(outside)
    before = os.stat(outside / "f")
    made = debian.run_in(f"""\
FROM golang-cgo
RUN mkdir -p /a /b && touch /a/f && (for i in $(seq 300); do rm -rf /l; ln -s /a /l; rm -rf /l; \\
    ln -s {outside} /l; done) & for i in $(seq 300); do chown 7:7 /l/f 2>/dev/null; done; wait; echo over=yes
""")
    assert made.said("over") == "yes"
    assert os.stat(outside / "f").st_ctime_ns == before.st_ctime_ns
