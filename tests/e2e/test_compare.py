"""`lighter compare` and `lighter verify`: what makes two images different, and whether a build gives an image."""

import time

import pytest

TEXT = "FROM busybox\nCOPY --chmod=644 f /f\nRUN echo x >/x && ln /x /y && ln -s x /l && mkdir -p /d/e\nENV A=1\n"


def build(lighter, tag, *words, text=TEXT, f="1234567890", **options):
    lighter.build(lighter.context({"f": f}), *words, dockerfile=text, tag=tag, **options)


def differences(lighter, one="one", two="two", *words):
    done = lighter("compare", *words, one, two, code=None)
    lines = done.stdout.splitlines()
    assert done.code == (5 if lines else 0), done
    return lines


def test_an_image_and_itself_do_not_differ(lighter):
    build(lighter, "one")
    lighter("tag", "one", "two")
    assert differences(lighter) == []


def test_the_first_byte_that_differs_is_named(lighter):
    build(lighter, "one", "--epoch=content")
    build(lighter, "two", "--epoch=content", f="1234X67890")
    line, = differences(lighter)
    assert line == "layer 3: /f: content differs from byte 4 on (0x35 | 0x58)"


@pytest.mark.parametrize("f, said", [("12345", "size 10 | 5; content ends at byte 5"),
                                     ("12345678901", "size 10 | 11; content ends at byte 10")])
def test_a_file_that_ends_early_is_told_so(lighter, f, said):
    build(lighter, "one", "--epoch=content")
    build(lighter, "two", "--epoch=content", f=f)
    assert said in differences(lighter)[0]


@pytest.mark.parametrize("change, said", [
    ("chmod 755 /x", "layer 4: /x: mode 0644 | 0755"),
    ("chown 3:4 /x", "layer 4: /x: owner 0:0 | 3:4"),
    ("ln -sf f /l", "layer 4: /l: link x | f"),
    ("rm /l && mkdir /l", "layer 4: /l: is a link | a directory"),
    ("rm /y", "layer 4: /y: a file, and only in the first"),
    ("touch /new", "layer 4: /new: a file, and only in the second"),
    ("rm /etc/group", "layer 4: /etc/group: deleted, and only in the second"),
    ("mkfifo /d/p", "layer 4: /d/p: a pipe, and only in the second"),
])
def test_each_field_that_differs_is_named(lighter, change, said):
    build(lighter, "one", "--epoch=content")
    build(lighter, "two", "--epoch=content", text=TEXT.replace("/d/e", "/d/e && " + change))
    assert said in differences(lighter)


def test_times_differ_unless_they_need_not(lighter):
    build(lighter, "one", text=TEXT.replace("RUN ", "RUN touch -d @1500000000 /f && "))
    build(lighter, "two", text=TEXT.replace("RUN ", "RUN touch -d @1600000000 /f && "))
    assert any("time 2017-07-14T02:40:00Z | 2020-09-13T12:26:40Z" in line for line in differences(lighter))
    left = differences(lighter, "one", "two", "--no-times")
    assert left and all(line.startswith("config: history[") for line in left), left


def test_configs_are_compared_by_their_parts(lighter):
    build(lighter, "one", "--epoch=content")
    build(lighter, "two", "--epoch=content", text=TEXT.replace("A=1", "A=2") + "USER 7\n")
    lines = differences(lighter)
    assert any(line == 'config: config.Env[1]: "A=1" | "A=2"' for line in lines), lines
    assert any(line == 'config: config.User: nothing | "7"' for line in lines)


def test_layers_that_are_cut_in_another_way_are_compared_as_a_container_sees_them(lighter):
    build(lighter, "one", "--epoch=content", text=TEXT + "RUN rm /x && echo y >/z && rm -r /d && mkdir /d && echo q >/d/q\n")
    build(lighter, "two", "--epoch=content", "--squash", text=TEXT + "RUN rm /x && echo y >/z && rm -r /d && mkdir /d && echo q >/d/q\n")
    lines = differences(lighter)
    assert lines[0].startswith("config: history") or lines[0].startswith("layers:")
    files = [line for line in lines if line.startswith("/")]
    assert any(line.startswith("layers: 5 | 3") for line in lines) and files == [], lines


def test_an_image_of_elsewhere_is_compared_with_one_of_here(lighter, lighters, temp):
    build(lighter, "one", "--epoch=content")
    lighter.save("one", temp / "one.tar")
    other = lighters()
    other.load(temp / "one.tar")
    other("tag", "one", "mine")
    other.run_in("FROM one\nRUN echo later >/later\n", "--epoch=content", tag="two")
    assert any("layers: 4 | 5" in line for line in differences(other))
    assert "/later: a file, and only in the second" in differences(other)


def test_words_are_checked(lighter):
    assert "two images" in lighter("compare", "busybox", code=2).error
    assert "nosuch" in lighter("compare", "busybox", "nosuch", code=2).error


def test_names_that_steer_terminals_do_not(lighter):
    build(lighter, "one", "--epoch=content")
    build(lighter, "two", "--epoch=content", text=TEXT + "RUN touch \"$(printf '/a\\033[31mb')\"\n")
    assert "\x1b" not in lighter("compare", "one", "two", code=5).stdout


# ---- verify --------------------------------------------------------------------------------------

def test_an_image_is_what_its_context_builds(lighter):
    build(lighter, "one", "--epoch=content")
    done = lighter("verify", "-f", "-", "one", lighter.context({"f": "1234567890"}), input=TEXT)
    assert "'one' is what this builds, byte for byte" in done.stderr
    assert len(done.ran) == 2, "nothing is taken from the cache"


def test_a_change_of_the_context_is_found_with_file_and_byte(lighter):
    build(lighter, "one", "--epoch=content")
    done = lighter("verify", "-f", "-", "one", lighter.context({"f": "123456789X"}), input=TEXT, code=5)
    assert "layer 3: /f: content differs from byte 9 on (0x30 | 0x58)" in done.stdout.splitlines()
    assert "'one' is not what this builds" in done.error


def test_a_command_that_writes_other_bytes_each_time_is_found(lighter):
    text = TEXT + "RUN head -c 8 /dev/urandom >/r\n"
    build(lighter, "one", "--epoch=content", text=text)
    done = lighter("verify", "-f", "-", "one", lighter.context({"f": "1234567890"}), input=text, code=5)
    assert "/r: content differs from byte" in done.stdout


def test_an_image_without_an_epoch_is_verified_times_aside(lighter):
    build(lighter, "one")
    time.sleep(1.1)  # layers hold whole seconds
    done = lighter("verify", "-f", "-", "one", lighter.context({"f": "1234567890"}), input=TEXT)
    assert "'one' is what this builds, times aside" in done.stderr and "times are not compared" in done.stderr


def test_an_epoch_in_seconds_is_found_by_itself(lighter):
    build(lighter, "one", "--epoch=1600000000")
    done = lighter("verify", "-f", "-", "one", lighter.context({"f": "1234567890"}), input=TEXT)
    assert "byte for byte" in done.stderr


def test_an_image_that_was_pushed_is_verified_where_it_was_pulled(lighter, lighters, bases, servers):
    front = servers.front()
    ref = f"{front.host}/team/app:1"
    build(lighter, ref, "--epoch=content", "--push")
    other = lighters(bases=[bases("busybox")])
    other("pull", ref)
    words = ["verify", "-f", "-", ref, other.context({"f": "1234567890"})]
    assert "byte for byte" in other(*words, input=TEXT).stderr
    other_text = TEXT.replace("echo x", "echo y")
    assert "/x: content differs from byte 0 on (0x78 | 0x79)" in other(*words, input=other_text, code=5).stdout


def test_verify_leaves_no_name_and_takes_no_output(lighter):
    build(lighter, "one", "--epoch=content")
    before = {row["repo"] for row in lighter.images()}
    lighter("verify", "-f", "-", "one", lighter.context({"f": "1234567890"}), input=TEXT)
    assert {row["repo"] for row in lighter.images()} == before
    for word in (["-t", "x"], ["-o", "x"], ["--push"], ["--load"]):
        assert "leave out" in lighter("verify", *word, "one", ".", code=2).error
    assert "needs an image and the context" in lighter("verify", "one", code=2).error


def test_rootless_verifies_and_compares_too(lighters, bases):
    lighter = lighters("rootless", bases=[bases("busybox")])
    build(lighter, "one", "--epoch=content")
    words = ["-f", "-", "--isolation", "rootless", "one"]
    assert "byte for byte" in lighter("verify", *words, lighter.context({"f": "1234567890"}), input=TEXT).stderr
    build(lighter, "two", "--epoch=content", f="x")
    assert differences(lighter, "one", "two", "--isolation", "rootless")
