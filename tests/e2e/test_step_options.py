"""Options of `lighter build` and `lighter run` that shape what a command finds; in both modes.

The rules are docker's (`docker build --help`, BuildKit's entitlements; features.md I12 to I14, K2, S6, S7, S10).
"""


import pytest



@pytest.fixture(params=["root", "rootless"])
def lighter(request, lighters, bases):
    return lighters(request.param, bases=[bases("busybox")])


def run(lighter, *lines, args=(), code=0, **options):
    """Build `RUN` lines over busybox."""
    return lighter.run_in("FROM busybox\n" + "\n".join(lines) + "\n", *args, tag="shaped", code=code, **options)


def refused(lighter, *args, lines=("RUN true",), code=2):
    """The error of a build that these options end before a step ran."""
    done = run(lighter, *lines, args=args, code=code)
    assert done.steps == [], done
    return done.error


# ---- rights --------------------------------------------------------------------------------------

INSECURE = ["--allow", "security.insecure"]
ALL_CAPS = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("CapBnd"))


def test_an_insecure_step_has_all_rights_and_the_next_one_has_not(lighter):
    done = run(lighter, "RUN --security=insecure sed -n 's/CapEff:.*\\(.\\{16\\}\\)$/all=\\1/p' /proc/self/status && "
               "sed -n 's/Seccomp:.*\\(.\\)$/filter=\\1/p' /proc/self/status && mkdir /m && mount -t tmpfs x /m && "
               "mount -t proc x /m && echo mounted=yes",
               "RUN sed -n 's/Seccomp:.*\\(.\\)$/then=\\1/p' /proc/self/status; mount -t tmpfs x /m 2>/dev/null || echo again=no",
               args=INSECURE)
    assert int(done.said("all"), 16) & 1 << 21, "CAP_SYS_ADMIN is among them"
    if lighter.isolation == "root":
        assert done.said("all") == ALL_CAPS
    assert (done.said("filter"), done.said("mounted"), done.said("then"), done.said("again")) == ("0", "yes", "2", "no")


def test_an_insecure_step_sees_what_is_masked_from_others(lighter):
    look = "ls -A /proc/acpi 2>/dev/null | wc -l; grep -c ' /proc/sys ' /proc/mounts || true"
    done = run(lighter, f"RUN --security=insecure echo open=$({look})", f"RUN echo masked=$({look})", args=INSECURE)
    assert done.said("open").split()[-1] == "0" and done.said("masked") == "0 1"


def test_security_is_in_the_key_where_it_is_not_dockers_default(lighter):
    assert run(lighter, "RUN echo x >/x").ran
    assert run(lighter, "RUN --security=sandbox echo x >/x").ran == []
    assert run(lighter, "RUN --security=insecure echo x >/x", args=INSECURE).ran


def test_an_insecure_step_needs_the_entitlement(lighter):
    error = refused(lighter, lines=["RUN --security=insecure true"], code=3)
    assert "<stdin>:2" in error and "'--allow security.insecure'" in error


def test_mode_chroot_refuses_an_insecure_step_by_name(lighters, bases, needs_root):
    lighter = lighters("chroot", bases=[bases("busybox")])
    error = run(lighter, "RUN --security=insecure true", args=INSECURE, code=6).error
    assert "--security=insecure: mode chroot has no more rights to give" in error


def test_raw_sockets_are_given_for_networks_of_the_steps_own_alone(lighter):
    look = "RUN {} sed -n 's/CapBnd:.*\\(.\\{{16\\}}\\)$/{}=\\1/p' /proc/self/status"
    done = run(lighter, look.format("--network=none", "own"), look.format("", "host"))
    assert int(done.said("own"), 16) & 1 << 13
    assert bool(int(done.said("host"), 16) & 1 << 13) == (lighter.isolation != "root"), \
        "in a user namespace the right is good for nothing outside"


# ---- network -------------------------------------------------------------------------------------

SEES = "grep -c : /proc/net/dev"
HOST_INTERFACES = sum(":" in line for line in open("/proc/net/dev"))


@pytest.mark.parametrize("args, flag, alone", [
    ([], "", False), (["--network=none"], "", True), (["--network", "default"], "", False), (["--network=host"], "", False),
    (["--network=none"], "--network=default ", True), (["--network=host"], "--network=none ", True),
    (["--network=none", "--allow=network.host"], "--network=host ", False),
    (["--allow", "network.host"], "--network=host ", False),
])
def test_the_network_of_a_step_is_its_flags_and_else_the_command_lines(lighter, args, flag, alone):
    if HOST_INTERFACES < 2:
        pytest.skip("this machine has one network interface")
    assert run(lighter, f"RUN {flag}echo n=$({SEES})", args=args).said("n") == str(1 if alone else HOST_INTERFACES)


def test_the_network_is_in_the_key(lighter):
    assert run(lighter, "RUN echo x >/x").ran
    assert run(lighter, "RUN echo x >/x", args=["--network=host"]).ran == []
    assert run(lighter, "RUN echo x >/x", args=["--network=none"]).ran
    assert run(lighter, "RUN --network=none echo x >/x", args=["--network=none"]).code == 0


def test_the_hosts_network_by_name_needs_the_entitlement(lighter):
    error = refused(lighter, lines=["RUN --network=host true"], code=3)
    assert "<stdin>:2" in error and "'--allow network.host' lets it through" in error


@pytest.mark.parametrize("args, said", [
    (["--network=bridge"], "--network=bridge: expected default, host, none or passt"),
    (["--allow", "network"], "--allow network: expected network.host or security.insecure"),
    (["--allow", "device"], "--allow device: expected network.host or security.insecure"),
])
def test_unknown_words_are_refused(lighter, args, said):
    assert said in refused(lighter, *args)


def test_run_has_the_callers_network_or_none(lighter):
    if HOST_INTERFACES < 2:
        pytest.skip("this machine has one network interface")
    count = ["sh", "-c", SEES]
    assert lighter.run("busybox", *count).stdout.strip() == str(HOST_INTERFACES)
    assert lighter.run("busybox", *count, args=["--network=none"]).stdout.strip() == "1"
    assert "expected default, host, none or passt" in lighter.run("busybox", "true", args=["--network=x"], code=2).error


# ---- /etc/hosts ----------------------------------------------------------------------------------

@pytest.mark.parametrize("words, line", [
    (["db:10.0.0.7"], "10.0.0.7\tdb"), (["db=10.0.0.7"], "10.0.0.7\tdb"), (["db:::1"], "::1\tdb"),
    (["db:[fe80::0:1]"], "fe80::1\tdb"), (["db=[::1]"], "::1\tdb"), (["b:2.2.2.2", "a:1.1.1.1"], "2.2.2.2\tb|1.1.1.1\ta"),
])
def test_hosts_come_after_the_standard_lines_and_not_into_the_layer(lighter, words, line):
    args = [word for text in words for word in ("--add-host", text)]
    done = run(lighter, "RUN echo is=$(tail -n +3 /etc/hosts | tr '\\n' '|') && grep -q '^127.0.0.1.localhost' /etc/hosts",
               args=args)
    assert done.said("is") == line.replace("\t", " ") + "|"
    assert "etc/hosts" not in lighter.image("shaped").layers[-1]
    ran = lighter.run("busybox", "tail", "-n", "+3", "/etc/hosts", args=args).stdout
    assert ran == line.replace("|", "\n") + "\n"


def test_many_hosts_are_all_there(lighter):
    args = [f"--add-host=host-with-a-rather-long-name-{i}:10.1.{i // 256}.{i % 256}" for i in range(500)]
    assert run(lighter, "RUN echo n=$(grep -c host-with /etc/hosts)", args=args).said("n") == "500"


@pytest.mark.parametrize("word, said", [
    ("db", "expected NAME:IP"), (":1.2.3.4", "expected NAME:IP"), ("db:", "expected NAME:IP"), ("", "expected NAME:IP"),
    ("db:1.2.3", "'1.2.3' is no IP address"), ("db:[1.2.3.4]", "is no IP address"), ("db:[::1", "is no IP address"),
    ("db:host-gateway", "host-gateway is not supported"), ("a b:1.2.3.4", "'a b' is no host name"),
    ("a\nb:1.2.3.4", "is no host name"), ("a#:1.2.3.4", "is no host name"), ("db:" + "1" * 99, "is no IP address"),
])
def test_what_is_no_host_is_refused(lighter, word, said):
    assert said in refused(lighter, "--add-host", word)


# ---- /dev/shm and limits -------------------------------------------------------------------------

@pytest.mark.parametrize("size, kib", [(None, 65536), ("1m", 1024), ("2MiB", 2048), ("1.5mb", 1536), ("1048576", 1024), ("0", 65536)])
def test_the_size_of_dev_shm_is_the_one_asked_for(lighter, size, kib):
    args = ["--shm-size", size] if size else []
    assert run(lighter, "RUN echo kib=$(df -k /dev/shm | tail -n 1 | awk '{print $2}')", args=args).said("kib") == str(kib)
    assert f" {kib} " in lighter.run("busybox", "df", "-k", "/dev/shm", args=args).stdout


@pytest.mark.parametrize("word, option, shown", [
    ("nofile=100:200", "n", "100 200"), ("nofile=77", "n", "77 77"), ("core=0", "c", "0 0"), ("stack=1048576:2097152", "s", "1024 2048"),
    ("core=-1", "c", None), ("fsize=1024:2048", "f", "2 4"), ("cpu=50:60", "t", "50 60"), ("memlock=4096", "l", "4 4"),
])
def test_a_limit_is_that_of_the_step(lighter, word, option, shown):
    import resource
    if word == "core=-1" and resource.getrlimit(resource.RLIMIT_CORE)[1] != resource.RLIM_INFINITY:
        pytest.skip("this session's core limit is not unlimited")
    command = f"echo $(ulimit -S{option}) $(ulimit -H{option})"
    shown = shown or "unlimited unlimited"
    assert run(lighter, f"RUN echo is=$({command})", args=["--ulimit", word]).said("is") == shown
    assert lighter.run("busybox", "sh", "-c", command, args=["--ulimit", word]).stdout == shown + "\n"


def test_a_limit_holds_for_a_user_and_the_last_of_a_type_counts(lighter):
    done = run(lighter, "USER 5:6", "RUN echo is=$(ulimit -n)-$(ulimit -c)",
               args=["--ulimit=nofile=50", "--ulimit=core=0", "--ulimit=nofile=60"])
    assert done.said("is") == "60-0"


@pytest.mark.parametrize("word, said", [
    ("nofile", "expected TYPE=SOFT[:HARD]"), ("=1", "expected TYPE=SOFT[:HARD]"), ("files=1", "unknown type 'files'"),
    ("nofile=2:1", "the soft limit is above the hard one"), ("nofile=-1:1", "the soft limit is above the hard one"),
    ("nofile=a", "with numbers"), ("nofile=", "with numbers"), ("nofile=1:", "with numbers"), ("nofile=-2", "with numbers"),
    ("as=1", "unknown type 'as'"), ("nofile=99999999999999999999", "with numbers"),
])
def test_what_is_no_limit_is_refused(lighter, word, said):
    assert said in refused(lighter, "--ulimit", word)


@pytest.mark.parametrize("word", ["x", "-1", "1z", ""])
def test_what_is_no_size_is_refused(lighter, word):
    assert f"--shm-size {word}: expected a size" in refused(lighter, "--shm-size", word)


def test_a_limit_above_the_builders_own_is_refused_by_name_before_a_step(lighter):
    error = refused(lighter, "--ulimit", "nofile=4000000000", code=6)
    assert "--ulimit nofile: a hard limit of 4000000000 is above lighter's own" in error


# ---- keys ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("args, other", [
    (["--add-host=a:1.1.1.1"], ["--add-host=a:1.1.1.2"]), (["--shm-size=1m"], ["--shm-size=2m"]),
    (["--ulimit=nofile=64"], ["--ulimit=nofile=64:65"]),
])
def test_what_a_step_can_see_is_in_its_key(lighter, args, other):
    line = "RUN date +%N >/x"
    first = run(lighter, line)
    assert run(lighter, line, args=args).ran == [line]
    assert run(lighter, line, args=other).ran == [line]
    assert run(lighter, line, args=args).ran == []
    again = run(lighter, line)
    assert again.ran == [] and again.id == first.id


def test_another_way_to_say_the_same_is_the_same_key(lighter):
    run(lighter, "RUN true >/x", args=["--shm-size=1m", "--ulimit=nofile=64", "--ulimit=core=0", "--add-host=a:[::0:1]"])
    again = run(lighter, "RUN true >/x", args=["--shm-size=1024k", "--ulimit=core=0:0", "--ulimit=nofile=64:64", "--add-host=a=::1"])
    assert again.ran == []
