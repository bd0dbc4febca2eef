"""Servers that fail, lie or dawdle: the right bytes in the end, or a clear error in bounded time."""

import hashlib
import http.client
import json
import re
import threading
import time

import pytest

from harness import wait_for
from servers import (corrupt, crane, cut, docker_config, no_ranges, pass_part, redirect, reset_after,
                     skopeo, status, status_early)

MIB = 1 << 20
NOISE = 6 * MIB  # bytes of the layer that matters


@pytest.fixture(scope="module")
def noise():
    """A file that no compression makes smaller."""
    out = bytearray()
    block = b"noise"
    while len(out) < NOISE:
        block = hashlib.sha512(block).digest()
        out += block
    return bytes(out)


@pytest.fixture
def front(servers):
    return servers.front()


@pytest.fixture
def big(module_lighters, servers, front, noise, bases):
    """An image with one big layer in the registry; its reference and the layer's digest."""
    lighter = module_lighters(bases=[bases("busybox")])
    ref = f"{front.host}/team/big:1"
    lighter.run_in("FROM busybox\nCOPY noise /noise", "--tag", ref, "--push", files={"noise": noise})
    layers = json.loads(crane("manifest", "--insecure", ref))["layers"]
    layer = max(layers, key=lambda d: d["size"])
    front.forget()
    return ref, layer["digest"], layer["size"]


def check(lighter, ref, noise):
    """The image is whole, in bytes and as files."""
    assert lighter.image(ref).rootfs()["noise"][1] == noise
    assert lighter.damaged_blobs() == []
    assert lighter.run(ref, "wc", "-c", "/noise").stdout.split()[0] == str(NOISE)


WAYS = {  # what a user does that needs the layer
    "pull": lambda lighter, ref: lighter("pull", ref, timeout=60),
    "build": lambda lighter, ref: lighter.run_in(f"FROM {ref}\nRUN echo x >/x", timeout=60),
}


# ---- downloads -----------------------------------------------------------------------------------

@pytest.mark.parametrize("way", WAYS)
def test_a_download_that_is_cut_goes_on_where_it_broke(bare, front, big, noise, way):
    ref, digest, size = big
    front.rule("GET", digest, cut(2 * MIB), times=2)
    WAYS[way](bare, ref)
    got = front.requests("GET", digest)
    assert [seen.headers.get("Range") for seen in got] == \
        [None, f"bytes={2 * MIB}-{size - 1}", f"bytes={4 * MIB}-{size - 1}"]
    assert sum(seen.sent for seen in got) <= size + 2 * MIB  # at most 1 MiB wasted a cut
    check(bare, ref, noise)


@pytest.mark.parametrize("way", WAYS)
def test_a_server_without_ranges_begins_again(bare, front, big, noise, way):
    ref, digest, size = big
    front.rule("GET", digest, cut(3 * MIB), times=1)
    front.rule("GET", digest, no_ranges)
    WAYS[way](bare, ref)
    assert [seen.status for seen in front.requests("GET", digest)] == [200, 200]
    check(bare, ref, noise)


def test_a_server_that_refuses_the_range_begins_again(bare, front, big, noise):
    ref, digest, _ = big
    front.rule("GET", digest, cut(3 * MIB), times=1)
    front.rule("GET", digest, status(416), times=1)
    bare("pull", ref)
    assert [seen.status for seen in front.requests("GET", digest)] == [200, 416, 200]
    check(bare, ref, noise)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("at", [100, 3 * MIB, NOISE // 2])
def test_a_corrupt_byte_is_fetched_once_more(bare, front, big, noise, way, at):
    ref, digest, size = big
    front.rule("GET", digest, corrupt(at), times=1)
    WAYS[way](bare, ref)
    assert len(front.requests("GET", digest)) == 2
    check(bare, ref, noise)


@pytest.mark.parametrize("way", WAYS)
def test_bytes_that_stay_corrupt_are_named_and_not_kept(bare, front, big, way):
    ref, digest, _ = big
    front.rule("GET", digest, corrupt(3 * MIB))
    if way == "pull":
        failed = bare("pull", ref, code=4)
    else:
        failed = bare.run_in(f"FROM {ref}\nRUN true", code=4)
    got = re.search(r"expected (sha256:[0-9a-f]{64}), got (sha256:[0-9a-f]{64})", failed.error)
    assert got and got[1] == digest and got[2] != digest
    assert front.host in failed.error and "team/big" in failed.error
    assert len(front.requests("GET", digest)) == 2
    assert digest[7:] not in {p.name for p in (bare.store / "blobs" / "sha256").iterdir()}
    assert bare.damaged_blobs() == [] and bare("store", "check").code == 0
    assert bare.leftovers() == []


def test_429_waits_as_long_as_it_is_told(bare, front, big, noise):
    ref, digest, _ = big
    front.rule("GET", digest, status(429, Retry_After="1"), times=2)
    front.rule("GET", "/manifests/", status(429, Retry_After="1"), times=1)
    done = bare("pull", ref)
    assert 3 <= done.seconds < 12
    check(bare, ref, noise)


def test_a_long_retry_after_is_an_error_at_once(bare, front, big):
    front.rule("GET", "/manifests/", status(429, Retry_After="7200"))
    failed = bare("pull", big[0], code=4)
    assert "7200 seconds" in failed.error and failed.seconds < 2


@pytest.mark.parametrize("code", [408, 500, 502, 503])
def test_passing_failures_are_tried_again(bare, front, big, noise, code):
    ref, digest, _ = big
    front.rule("GET", digest, status(code), times=2)
    front.rule("GET", "/manifests/", status(code), times=1)
    bare("pull", ref)
    check(bare, ref, noise)


def test_a_server_that_keeps_failing_is_given_up(bare, front, big):
    front.rule("GET", "/manifests/", status(503))
    failed = bare("pull", big[0], code=4, timeout=40)
    assert "status 503" in failed.error and len(front.requests("GET", "/manifests/")) == 6


def test_a_server_that_is_not_there_is_named_soon(bare):
    failed = bare("pull", "127.0.0.1:1/x/y", code=4)
    assert "127.0.0.1:1" in failed.error and failed.seconds < 5


@pytest.mark.parametrize("lie", ["long", "short", "endless"])
def test_lengths_that_lie_do_no_harm(bare, front, big, lie):
    ref, digest, size = big

    def tell(handler):
        body = b"x" * (size + 1000 if lie == "long" else size - 1000)
        handler.seen.status = 200
        handler.send_response(200)
        if lie == "endless":
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            part = b"x" * 65536
            end = time.monotonic() + 20
            while time.monotonic() < end:
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                handler.seen.sent += len(part)
            return None
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)
        return None

    front.rule("GET", digest, tell)
    failed = bare("pull", ref, code=4, timeout=60)
    assert digest in failed.error and failed.seconds < 30
    if lie != "short":
        assert str(size) in failed.error
    assert sum(seen.sent for seen in front.requests("GET", digest)) < 3 * size + 20 * MIB
    assert bare.leftovers() == [] and bare("store", "check").code == 0


def test_a_size_in_the_manifest_that_lies_is_found_out(bare, front, big):
    ref, digest, size = big
    manifest = json.loads(crane("manifest", "--insecure", ref))
    for layer in manifest["layers"]:
        if layer["digest"] == digest:
            layer["size"] = size - 1
    body = json.dumps(manifest).encode()
    front.rule("GET", "/manifests/", lambda handler: handler.answer(200, body, Content_Type=manifest["mediaType"]))
    failed = bare("pull", ref, code=4)
    assert f"{size} bytes, where the manifest says {size - 1}" in failed.error


def test_a_manifest_that_is_not_its_digests_is_refused(bare, front, big):
    ref, _, _ = big
    digest = crane("digest", "--insecure", ref).strip()
    front.rule("GET", "/manifests/", corrupt(5))
    failed = bare("pull", f"{front.host}/team/big@{digest}", code=4)
    assert f"expected {digest}, got sha256:" in failed.error
    assert bare.images() == []


# ---- redirects -----------------------------------------------------------------------------------

def test_a_redirect_to_another_port_carries_no_authorization(bare, servers, noise, big, front):
    ref, digest, _ = big
    guard = servers.front(front.backend, auth="token")
    elsewhere = servers.front(front.backend)
    docker_config(bare, guard.host)
    guard.rule("GET", digest, redirect(lambda handler: f"http://{elsewhere.host}{handler.path}?sig=very-secret"))
    ref = ref.replace(front.host, guard.host)
    done = bare("pull", ref)
    asked = elsewhere.requests("GET", digest)
    assert asked and all(seen.auth is None for seen in asked)
    assert any(seen.auth for seen in guard.requests("GET", digest))
    assert "very-secret" not in done.stderr
    check(bare, ref, noise)


def test_a_redirect_within_the_server_keeps_who_we_are(bare, servers, front, big, noise):
    ref, digest, _ = big
    guard = servers.front(front.backend, auth="token")
    docker_config(bare, guard.host)
    guard.rule("GET", digest + "$", redirect(lambda handler: handler.path + "?again=1"))
    ref = ref.replace(front.host, guard.host)
    bare("pull", ref)
    assert all(seen.auth for seen in guard.requests("GET", digest + r"\?again"))
    check(bare, ref, noise)


def test_a_redirect_from_https_to_http_is_refused(bare, servers, front, big):
    ref, digest, _ = big
    safe = servers.front(front.backend, tls=True)
    safe.rule("GET", digest, redirect(lambda handler: f"http://{front.host}{handler.path}"))
    front.forget()
    failed = bare("pull", ref.replace(front.host, safe.host), code=4)
    assert "from https to http" in failed.error and front.log == []


def test_endless_redirects_end(bare, front, big):
    front.rule("GET", "/manifests/", redirect(lambda handler: handler.path))
    failed = bare("pull", big[0], code=4)
    assert "redirects" in failed.error and len(front.requests("GET", "/manifests/")) == 11


# ---- uploads -------------------------------------------------------------------------------------

@pytest.fixture
def sender(lighters, bases, noise):
    """An image with a big layer in a store."""
    lighter = lighters(bases=[bases("busybox")])
    lighter.run_in("FROM busybox\nCOPY noise /noise", "--tag", "app", files={"noise": noise})
    return lighter


def pushed(front, repo="out/app"):
    crane("validate", "--insecure", "--remote", f"{front.backend.host}/{repo}:1")


def test_a_refusal_for_size_is_told_once_and_soon(sender, front):
    front.rule_early("PUT", "/blobs/uploads/", status_early(413))
    front.rule("PUT", "/blobs/uploads/", status_early(413))
    failed = sender("push", "app", f"{front.host}/out/app:1", code=4, timeout=30)
    assert "status 413" in failed.error and "limit" in failed.error and failed.seconds < 10
    assert len(front.requests("PUT", "/blobs/uploads/")) <= 4
    assert not front.requests("PUT", "/manifests/")


@pytest.mark.parametrize("code", [401, 403])
def test_a_refused_upload_is_an_error_and_not_a_loop(sender, front, code):
    front.rule_early("PUT", "/blobs/uploads/", status_early(code))
    front.rule("PUT", "/blobs/uploads/", status(code))
    failed = sender("push", "app", f"{front.host}/out/app:1", code=4, timeout=30)
    assert f"status {code}" in failed.error and failed.seconds < 10
    assert not front.requests("PUT", "/manifests/")


def test_a_broken_upload_goes_on_from_where_the_registry_has_it(sender, servers):
    """olareg tells how far it came: only the rest is sent."""
    front = servers.front(servers.backend("olareg"))
    front.rule("PUT", r"/blobs/uploads/.*digest=", pass_part(4 * MIB), times=1, min_body=5 * MIB)
    sender("push", "app", f"{front.host}/out/app:1")
    pushed(front)
    resumed = front.requests("GET", "/blobs/uploads/")
    assert [seen.status for seen in resumed] == [204]
    sent = sorted(seen.received for seen in front.requests("PUT", "/blobs/uploads/"))
    assert sum(sent) < NOISE + 2 * MIB


@pytest.mark.parametrize("kind", ["crane", "distribution"])
def test_a_broken_upload_begins_again_where_nobody_can_tell_how_far_it_came(sender, servers, kind):
    """crane's registry does not answer, docker-registry drops a session whose state is an older one."""
    front = servers.front(servers.backend(kind))
    front.rule("PUT", r"/blobs/uploads/.*digest=", reset_after(2 * MIB), times=1, min_body=5 * MIB)
    sender("push", "app", f"{front.host}/out/app:1")
    pushed(front)


def test_a_reset_in_the_middle_of_an_upload_is_survived(sender, front):
    front.rule("PUT", r"/blobs/uploads/.*digest=", reset_after(3 * MIB), times=2, min_body=5 * MIB)
    sender("push", "app", f"{front.host}/out/app:1")
    pushed(front)


def test_an_expired_session_is_begun_anew(sender, front):
    front.rule("PUT", r"/blobs/uploads/.*digest=", status(404), times=2)
    sender("push", "app", f"{front.host}/out/app:1")
    pushed(front)
    assert len(front.requests("POST", "/blobs/uploads/")) > len(front.requests("PUT", "/blobs/uploads/.*")) - 2


@pytest.mark.parametrize("code", [429, 500, 503])
def test_passing_failures_of_uploads_are_tried_again(sender, front, code):
    extra = {"Retry_After": "1"} if code == 429 else {}
    front.rule("PUT", r"/blobs/uploads/.*digest=", status(code, **extra), times=2)
    front.rule("POST", "/blobs/uploads/", status(code, **extra), times=1)
    front.rule("PUT", "/manifests/", status(code, **extra), times=1)
    sender("push", "app", f"{front.host}/out/app:1", timeout=60)
    pushed(front)


def test_an_upload_that_never_works_is_given_up(sender, front):
    front.rule("PUT", r"/blobs/uploads/.*digest=", status(500))
    failed = sender("push", "app", f"{front.host}/out/app:1", code=4, timeout=100)
    assert "status 500" in failed.error and "tried 6 times" in failed.error
    assert not front.requests("PUT", "/manifests/")


def test_202_is_not_taken_for_stored(sender, front):
    front.rule("PUT", r"/blobs/uploads/.*digest=", lambda handler: (handler.drop_body(), handler.answer(202, b"")),
               times=1)
    sender("push", "app", f"{front.host}/out/app:1")
    pushed(front)


def test_a_proxy_that_hides_tls_does_not_lead_uploads_to_http(sender, servers):
    """The registry thinks it is reached by http and says so in its Locations."""
    front = servers.front(tls=True)
    front.tell_scheme = False
    sender("push", "app", f"{front.host}/out/app:1")
    pushed(front)


def test_locations_may_be_relative(sender, front):
    def relative(handler):
        handler.drop_body()
        c = http.client.HTTPConnection("127.0.0.1", front.backend.port)
        c.request("POST", handler.path, headers={"Content-Length": "0"})
        answer = c.getresponse()
        at = answer.getheader("Location").split("/v2/", 1)[1]
        handler.answer(202, b"", Location="/v2/" + at)
    front.rule("POST", "/blobs/uploads/$", relative)
    sender("push", "app", f"{front.host}/out/app:1")
    pushed(front)


def test_an_upload_that_leads_to_another_server_carries_no_authorization(sender, servers):
    backend = servers.backend("olareg")
    guard, elsewhere = servers.front(backend, auth="token"), servers.front(backend)
    docker_config(sender, guard.host)

    def lead_away(handler):
        handler.drop_body()
        c = http.client.HTTPConnection("127.0.0.1", backend.port)
        c.request("POST", handler.path, headers={"Content-Length": "0"})
        at = c.getresponse().getheader("Location").split("/v2/", 1)[1]
        handler.answer(202, b"", Location=f"http://{elsewhere.host}/v2/{at}")

    guard.rule("POST", "/blobs/uploads/$", lead_away)
    sender("push", "app", f"{guard.host}/out/app:1")
    assert elsewhere.requests("PUT", "/blobs/uploads/")
    assert all(seen.auth is None for seen in elsewhere.log)
    pushed(guard)


def test_a_registry_that_stores_another_manifest_is_told_on(sender, front):
    def other(handler):
        handler.drop_body()
        handler.answer(201, b"", Docker_Content_Digest="sha256:" + "0" * 64)
    front.rule("PUT", "/manifests/", other)
    failed = sender("push", "app", f"{front.host}/out/app:1", code=4)
    assert "stored sha256:0000" in failed.error


# ---- stopping ------------------------------------------------------------------------------------

@pytest.mark.parametrize("word", ["pull", "push"])
def test_a_signal_ends_a_transfer_at_once_and_leaves_nothing(sender, front, big, word):
    ref, digest, size = big
    hang = threading.Event()

    def dawdle(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(size))
        handler.end_headers()
        handler.wfile.write(b"x" * 1000)
        hang.wait(30)

    front.rule("GET", digest, dawdle)
    front.rule("PUT", "/blobs/uploads/", lambda handler: hang.wait(30))
    child = sender.start(*(["pull", ref] if word == "pull" else ["push", "app", f"{front.host}/out/app:1"]))
    assert wait_for(lambda: front.requests("GET" if word == "pull" else "PUT", digest if word == "pull" else "/blobs/"))
    time.sleep(0.3)
    began = time.monotonic()
    child.terminate()
    out, err = child.communicate(timeout=20)
    hang.set()
    assert time.monotonic() - began < 3, err
    assert child.returncode == 128 + 15
    assert sender.leftovers() == []


def test_the_store_is_whole_after_kill_9_in_the_middle_of_a_pull(bare, front, big, noise):
    ref, digest, _ = big
    front.rule("GET", digest, cut(3 * MIB), times=1)
    front.rule("GET", digest, lambda handler: time.sleep(20), times=1)
    child = bare.start("pull", ref)
    assert wait_for(lambda: len(front.requests("GET", digest)) == 2)
    child.kill()
    child.communicate()
    assert bare("store", "check").code == 0
    bare("pull", ref)
    check(bare, ref, noise)


def test_two_pulls_of_one_image_do_not_hinder_each_other(bare, front, big, noise):
    ref, _, _ = big
    children = [bare.start("pull", ref) for _ in range(3)]
    for child in children:
        out, err = child.communicate(timeout=60)
        assert child.returncode == 0, err
    check(bare, ref, noise)


def test_the_rest_of_a_big_upload_goes_in_pieces_one_after_the_other(lighter, servers, noise):
    front = servers.front(servers.backend("olareg"))
    front.rule("PUT", r"/blobs/uploads/.*digest=", pass_part(4 * MIB), times=1, min_body=5 * MIB)
    lighter.run_in("FROM busybox\nCOPY noise /noise", "--tag", "app", files={"noise": noise[::-1] * 7})
    lighter("push", "app", f"{front.host}/out/app:1")
    pushed(front)
    pieces = [seen.headers["Content-Range"] for seen in front.requests("PATCH", "/blobs/uploads/")]
    ends = [tuple(map(int, piece.split("-"))) for piece in pieces]
    assert len(ends) >= 2 and ends[0][0] == 4 * MIB
    assert all(later[0] == earlier[1] + 1 for earlier, later in zip(ends, ends[1:]))
