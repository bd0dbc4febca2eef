"""Who lighter is to a registry: files, helpers, tokens, and what it never shows."""

import base64
import json
import os
import subprocess
import threading
from pathlib import Path

import pytest

from harness import wait_for
from servers import crane, docker_config, skopeo

SECRET = "my-secret"


def put_base(front, bases, repo="lib/base", tag="v1"):
    """Put an image into the registry behind the front, past its guard."""
    skopeo("copy", "-q", "--dest-tls-verify=false", f"oci:{bases('busybox')}",
           f"docker://{front.backend.host}/{repo}:{tag}")
    return f"{front.host}/{repo}:{tag}"


def no_secret_in(result, *more):
    for secret in (SECRET, base64.b64encode(f"me:{SECRET}".encode()).decode(), *more):
        assert secret not in result.stdout + result.stderr


@pytest.fixture
def guarded(servers):
    return servers.front(tls=True, auth="token")


def helper(lighter, name, script):
    """A credential helper in a directory of the lighter user's; the PATH to find it by."""
    place = lighter.directory("bin")
    program = place / f"docker-credential-{name}"
    program.write_text("#!/bin/sh\n" + script)
    program.chmod(0o755)
    lighter.own(place)
    return {"PATH": f"{place}:{os.environ['PATH']}"}


def write_config(lighter, **config):
    place = lighter.home / ".docker"
    place.mkdir(exist_ok=True)
    (place / "config.json").write_text(json.dumps(config))
    lighter.own(place)


# ---- ways in -------------------------------------------------------------------------------------

def test_basic(bare, servers, bases):
    front = servers.front(auth="basic")
    ref = put_base(front, bases)
    refused = bare("pull", ref, code=4)
    assert "nobody is logged in" in refused.error and "lighter login" in refused.error
    docker_config(bare, front.host)
    bare("pull", ref)
    bare("push", ref, f"{front.host}/x/y:1")


def test_anonymous_tokens_pull_and_do_not_push(bare, servers, bases):
    front = servers.front(tls=True, auth="token", anonymous=True)
    ref = put_base(front, bases)
    bare("pull", ref)
    refused = bare("push", ref, f"{front.host}/x/y:1", code=4)
    assert "lighter login" in refused.error


def test_tokens_for_a_user(bare, guarded, bases):
    ref = put_base(guarded, bases)
    docker_config(bare, guarded.host)
    bare("pull", ref)
    bare("push", ref, f"{guarded.host}/x/y:1")
    users = {seen.auth for seen in guarded.requests(pattern="^/token")}
    assert users == {"Basic " + base64.b64encode(b"me:my-secret").decode()}
    # The registry itself never hears of the password.
    assert all(not (seen.auth or "").startswith("Basic") for seen in guarded.requests(pattern="^/v2/"))


def test_one_token_serves_all_layers(bare, guarded, bases):
    ref = put_base(guarded, bases)
    docker_config(bare, guarded.host)
    bare("pull", ref)
    assert len(guarded.requests("GET", "^/token")) == 1


def test_a_push_asks_for_its_mount_source_in_the_same_token(bare, guarded, bases):
    ref = put_base(guarded, bases)
    docker_config(bare, guarded.host)
    bare("pull", "--lazy", ref)
    done = bare("push", ref, f"{guarded.host}/x/y:1")
    assert done.stderr.count("mounted sha256:") == 2
    scopes = [seen.path for seen in guarded.requests("GET", "^/token.*lib%2Fbase.*x%2Fy")]
    assert scopes and all("pull" in path and "pull%2Cpush" in path for path in scopes)


def test_without_the_right_to_mount_the_bytes_are_sent(bare, guarded, bases):
    """May read both when asked for alone, and the registry says no to the mount."""
    ref = put_base(guarded, bases)
    docker_config(bare, guarded.host)
    bare("pull", ref)
    guarded.rule("POST", "mount=", lambda handler: handler.refuse(401, "UNAUTHORIZED", "no"), times=10)
    bare("push", ref, f"{guarded.host}/x/y:1")
    assert guarded.layer_bytes_up > 1_000_000
    crane("validate", "--insecure", "--remote", f"{guarded.backend.host}/x/y:1")


def test_an_identity_token_is_exchanged(bare, guarded, bases):
    ref = put_base(guarded, bases)
    guarded.identity["idt-12345"] = "me"
    write_config(bare, auths={guarded.host: {"auth": base64.b64encode(b"me:").decode(),
                                            "identitytoken": "idt-12345"}})
    done = bare("pull", ref)
    assert {seen.method for seen in guarded.requests(pattern="^/token")} == {"POST"}
    no_secret_in(done, "idt-12345")


def test_an_expired_token_is_fetched_again_in_the_middle(bare, guarded, bases):
    ref = put_base(guarded, bases)
    docker_config(bare, guarded.host)

    def forget_tokens(handler):
        guarded.tokens.clear()
        if guarded.let_in(handler):
            handler.forward()

    guarded.rule("GET", "/blobs/", forget_tokens, times=1)
    guarded.rule("GET", "/blobs/", forget_tokens, times=1, after=2)
    bare("pull", ref)
    assert len(guarded.requests("GET", "^/token")) == 3


def test_a_token_that_counts_for_a_moment_is_not_kept(bare, guarded, bases):
    ref = put_base(guarded, bases)
    docker_config(bare, guarded.host)
    guarded.token_life = 2
    bare("pull", ref)


def test_a_server_that_never_lets_in_is_asked_a_few_times(bare, guarded, bases):
    ref = put_base(guarded, bases)
    docker_config(bare, guarded.host)
    guarded.rule("GET", "/manifests/", lambda handler: handler.refuse(
        401, "UNAUTHORIZED", "no", WWW_Authenticate=f'Bearer realm="{guarded.scheme}://{guarded.host}/token",service="s"'))
    refused = bare("pull", ref, code=4)
    assert len(guarded.requests("GET", "/manifests/")) <= 4 and "'me'" in refused.error
    no_secret_in(refused)


@pytest.mark.parametrize("auth", ["basic", "token"])
def test_a_wrong_password_is_named_and_not_shown(bare, servers, bases, auth):
    front = servers.front(tls=True, auth=auth)
    ref = put_base(front, bases)
    docker_config(bare, front.host, password="not-it-at-all")
    refused = bare("pull", ref, code=4)
    assert "'me'" in refused.error and "config.json" in refused.error and refused.seconds < 3
    no_secret_in(refused, "not-it-at-all", base64.b64encode(b"me:not-it-at-all").decode())


def test_tokens_are_not_asked_for_by_http_of_a_registry_with_tls(bare, servers, guarded, bases):
    ref = put_base(guarded, bases)
    docker_config(bare, guarded.host)
    other = servers.front(guarded.backend)
    guarded.rule("GET", "/manifests/", lambda handler: handler.refuse(
        401, "UNAUTHORIZED", "no", WWW_Authenticate=f'Bearer realm="http://{other.host}/token",service="s"'))
    refused = bare("pull", ref, code=4)
    assert "http, where a password could be read" in refused.error and other.log == []


# ---- where credentials are -----------------------------------------------------------------------

def auth_json(path, keys):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"auths": {key: {"auth": base64.b64encode(value.encode()).decode()}
                                          for key, value in keys.items()}}))


PLACES = ["authfile", "REGISTRY_AUTH_FILE", "runtime", "config", "docker-env", "docker", "inline"]


def test_places_are_looked_at_in_their_order(bare, servers, bases):
    """Each place has right credentials while all behind it have wrong ones."""
    front = servers.front(auth="basic")
    ref = put_base(front, bases)
    home = bare.home
    paths = {"authfile": home / "given.json", "REGISTRY_AUTH_FILE": home / "env.json",
             "runtime": home / "run" / "containers" / "auth.json",
             "config": home / "xdg" / "containers" / "auth.json",
             "docker-env": home / "dc" / "config.json"}
    for i, place in enumerate(PLACES):
        right = {front.host: "me:my-secret"}
        wrong = {front.host: "me:wrong"}
        for path in (*paths.values(), home / ".docker" / "config.json"):
            if path.exists():
                path.unlink()
        env = {"XDG_RUNTIME_DIR": str(home / "run"), "XDG_CONFIG_HOME": str(home / "xdg")}
        words = []
        for k, name in enumerate(PLACES):
            if k < i:
                continue
            content = right if k == i else wrong
            if name == "inline":
                auth_json(home / "inline.json", content)
                env["DOCKER_AUTH_CONFIG"] = (home / "inline.json").read_text()
                continue
            if name == "docker":
                if i == k:
                    auth_json(home / ".docker" / "config.json", content)
                continue
            auth_json(paths[name], content)
            if name == "authfile":
                words = ["--authfile", paths[name]]
            elif name == "REGISTRY_AUTH_FILE":
                env["REGISTRY_AUTH_FILE"] = str(paths[name])
            elif name == "docker-env":
                env["DOCKER_CONFIG"] = str(home / "dc")
        bare.own(home)
        done = bare("pull", "--lazy", *words, ref, env=env, code=None)
        assert done.code == 0, (place, done)
        bare("rmi", ref)


def test_the_longest_repository_name_counts_in_podmans_files(bare, servers, bases):
    front = servers.front(auth="basic")
    ref = put_base(front, bases, "team/project/app")
    auth_json(bare.home / "auth.json", {front.host: "me:wrong", f"{front.host}/team": "me:wrong",
                                       f"{front.host}/team/project": "me:my-secret",
                                       f"{front.host}/team/proj": "me:wrong"})
    bare.own(bare.home)
    bare("pull", "--authfile", bare.home / "auth.json", ref)


def test_an_authfile_that_is_not_there_or_no_json_is_named(bare, servers):
    front = servers.front()
    missing = bare("pull", "--authfile", "/nowhere/auth.json", f"{front.host}/x", code=2)
    assert "/nowhere/auth.json" in missing.error
    (bare.home / "bad.json").write_text('{"auths": {"h": ')
    bare.own(bare.home)
    bad = bare("pull", "--authfile", bare.home / "bad.json", f"{front.host}/x", code=2)
    assert "bad.json" in bad.error and "line 1" in bad.error
    (bare.home / "odd.json").write_text(json.dumps({"auths": {front.host: {"auth": "!!!"}}}))
    odd = bare("pull", "--authfile", bare.home / "odd.json", f"{front.host}/x", code=2)
    assert "no base64" in odd.error


# ---- helpers -------------------------------------------------------------------------------------

GIVES = 'read server; echo "$1 $server" >>"$HOME/asked"\n' \
        'printf \'{"ServerURL":"%s","Username":"me","Secret":"my-secret"}\' "$server"\n'
HAS_NOTHING = 'echo "credentials not found in native keychain"; exit 1\n'


def test_helpers_come_in_their_order(bare, servers, bases):
    front = servers.front(auth="basic")
    ref = put_base(front, bases)
    env = helper(bare, "good", GIVES)
    helper(bare, "empty", HAS_NOTHING)
    wrong = {front.host: {"auth": base64.b64encode(b"me:wrong").decode()}}
    right = {front.host: {"auth": base64.b64encode(b"me:my-secret").decode()}}
    for config in ({"credHelpers": {front.host: "good"}, "credsStore": "empty", "auths": wrong},
                   {"credsStore": "good", "auths": wrong},
                   {"credsStore": "empty", "auths": right},
                   {"credHelpers": {"other.example": "good"}, "auths": right}):
        write_config(bare, **config)
        bare("pull", "--lazy", ref, env=env)
        bare("rmi", ref)
    assert (bare.home / "asked").read_text() == f"get {front.host}\n" * 2


def test_a_helper_that_gives_a_token_is_taken_at_its_word(bare, guarded, bases):
    ref = put_base(guarded, bases)
    guarded.identity["from-helper"] = "me"
    env = helper(bare, "tok", 'read s; printf \'{"Username":"<token>","Secret":"from-helper"}\'\n')
    write_config(bare, credsStore="tok")
    bare("pull", ref, env=env)


@pytest.mark.parametrize("script,said", [
    ("exec sleep 60", "has not answered for 10 seconds"),
    ("echo 'it is broken'; exit 3", "it is broken"),
    ("echo no json", "no JSON"),
    ("yes", "more than"),
    ("kill -9 $$", "failed"),
])
def test_a_helper_that_goes_wrong_is_named(bare, guarded, bases, script, said):
    ref = put_base(guarded, bases)
    env = helper(bare, "bad", script + "\n")
    write_config(bare, credsStore="bad")
    failed = bare("pull", ref, env=env, code=6, timeout=20)
    assert said in failed.error and "docker-credential-bad" in failed.error


def test_a_helper_that_is_not_installed_is_named(bare, guarded, bases):
    ref = put_base(guarded, bases)
    write_config(bare, credsStore="nowhere")
    assert "docker-credential-nowhere" in bare("pull", ref, code=6).error
    write_config(bare, credsStore="../../bin/sh")
    assert "no name of a credential helper" in bare("pull", ref, code=2).error


def test_a_helper_sees_its_user_even_when_a_build_needs_namespaces(lighters, guarded, bases):
    """The base is known and its layers are not here: they are fetched after the user namespace is entered."""
    lighter = lighters("rootless")
    ref = put_base(guarded, bases)
    env = helper(lighter, "who", "id -u >>\"$HOME/who\"\n" + GIVES)
    write_config(lighter, credsStore="who")
    lighter("pull", "--lazy", ref, env=env)
    (lighter.home / "who").unlink()
    lighter.run_in(f"FROM {ref}\nRUN true", env=env)
    uid = lighter.account.uid if lighter.account else os.getuid()
    assert set((lighter.home / "who").read_text().split()) == {str(uid)}


# ---- login and logout ----------------------------------------------------------------------------

def test_login_keeps_what_was_let_in_and_logout_forgets_it(bare, guarded, bases):
    ref = put_base(guarded, bases)
    write_config(bare, auths={"other.example": {"auth": "eDp5"}}, detachKeys="ctrl-q", psFormat="x")
    done = bare("login", "-u", "me", "--password-stdin", guarded.host, input="my-secret\n")
    assert "logged in" in done.stdout and "clear text" in done.stderr
    no_secret_in(done)
    config = bare.home / ".docker" / "config.json"
    kept = json.loads(config.read_text())
    assert kept["auths"][guarded.host]["auth"] == base64.b64encode(b"me:my-secret").decode()
    assert kept["auths"]["other.example"] == {"auth": "eDp5"} and kept["psFormat"] == "x"
    assert config.stat().st_mode & 0o777 == 0o600
    bare("pull", ref)
    # Others understand it.
    assert crane("digest", "--insecure", ref, env={"PATH": "/usr/bin:/bin", "HOME": str(bare.home)}) if os.geteuid() == 0 else True
    assert str(config) in bare("logout", guarded.host).stdout
    assert json.loads(config.read_text())["auths"] == {"other.example": {"auth": "eDp5"}}
    assert "not logged in" in bare("logout", guarded.host).stdout
    bare("pull", ref, code=4)


def test_a_refused_login_keeps_nothing(bare, guarded):
    failed = bare("login", "-u", "me", "--password-stdin", guarded.host, input="wrong-password", code=4)
    assert not (bare.home / ".docker").exists()
    no_secret_in(failed, "wrong-password")
    for words, said in ((["login", "--password-stdin", guarded.host], "--username"),
                        (["login", "-u", "me", "-p", "x", "--password-stdin", guarded.host], "exclude"),
                        (["login", "-u", "me", "--password-stdin", "not/a/host"], "no registry"),
                        (["login", "-u", "a:b", "--password-stdin", guarded.host], "':'")):
        assert said in bare(*words, input="x", code=2).error
    assert "stdin is empty" in bare("login", "-u", "me", "--password-stdin", guarded.host, input="", code=2).error


def test_login_uses_the_helper_that_the_file_names(bare, guarded, bases):
    env = helper(bare, "keep", """
case $1 in
store) cat >"$HOME/kept" ;;
get) cat >/dev/null; [ -f "$HOME/kept" ] && cat "$HOME/kept" || { echo "credentials not found"; exit 1; } ;;
erase) cat >/dev/null; rm -f "$HOME/kept" ;;
esac
""")
    write_config(bare, credsStore="keep")
    done = bare("login", "-u", "me", "--password-stdin", guarded.host, input="my-secret", env=env)
    assert "clear text" not in done.stderr
    assert "my-secret" not in (bare.home / ".docker" / "config.json").read_text()
    assert json.loads((bare.home / "kept").read_text()) == {"ServerURL": guarded.host, "Username": "me",
                                                           "Secret": "my-secret"}
    bare("pull", put_base(guarded, bases), env=env)
    bare("logout", guarded.host, env=env)
    assert not (bare.home / "kept").exists()


def test_login_to_docker_hub_is_known_by_its_old_name(bare, guarded, servers):
    """No question leaves this machine: a registry of ours stands for docker.io."""
    place = bare.home / ".config" / "lighter"
    place.mkdir(parents=True)
    (place / "registries.conf").write_text(f'[[registry]]\nprefix = "docker.io"\nlocation = "{guarded.host}"\n')
    bare.own(bare.home)
    bare("login", "-u", "me", "--password-stdin", input="my-secret")
    kept = json.loads((bare.home / ".docker" / "config.json").read_text())
    assert list(kept["auths"]) == ["https://index.docker.io/v1/"]


def test_login_writes_the_authfile_it_is_given(bare, guarded):
    bare("login", "--authfile", bare.home / "a" / "auth.json", "-u", "me", "--password-stdin", guarded.host,
         input="my-secret")
    assert (bare.home / "a" / "auth.json").stat().st_mode & 0o777 == 0o600
    assert not (bare.home / ".docker").exists()


def test_no_secret_is_in_any_process_arguments(bare, guarded, bases):
    """While a push with many requests runs, nobody can read the password or a token in /proc."""
    ref = put_base(guarded, bases)
    env = helper(bare, "slow", "sleep 0.3\n" + GIVES)
    write_config(bare, credsStore="slow")
    seen, over = [], threading.Event()

    def look():
        while not over.is_set():
            for pid in filter(str.isdigit, os.listdir("/proc")):
                try:
                    seen.append(Path("/proc", pid, "cmdline").read_bytes())
                except OSError:
                    pass

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        bare("pull", ref, env=env)
        bare("push", ref, f"{guarded.host}/x/y:1", env=env)
        bare("login", "-u", "me", "--password-stdin", guarded.host, input=SECRET, env=env)
    finally:
        over.set()
        watcher.join()
    tokens = [token.encode() for token in guarded.tokens]
    assert any(b"docker-credential-slow" in line for line in seen)
    assert not [line for line in seen if SECRET.encode() in line or any(t in line for t in tokens)]
