"""Images of requests: from where they may come, and what becomes of those that cannot be used."""

import base64
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from r3jax.data import webp
from r3jax.serve import page, pictures, remote
from r3jax.serve.errors import RequestError
from tests import tiny


def encoded(image: np.ndarray, kind: str = "PNG") -> bytes:
    data = io.BytesIO()
    Image.fromarray(image).save(data, kind)
    return data.getvalue()


def data_url(data: bytes) -> str:
    return "data:image/any;base64," + base64.b64encode(data).decode()


def bomb(width: int, height: int) -> bytes:
    """A PNG that claims to be large and holds nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def open_one(url: str, sources=None, fetched=None) -> np.ndarray:
    sources = sources or pictures.Sources(max_pixels=400 * 400)
    (image,) = pictures.open_all((url,), ("messages[0].content[0]",), sources, fetched or {})
    return image


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_an_image_says_itself_what_it_is(kind):
    assert open_one(data_url(encoded(tiny.image(0), kind))).shape == (336, 336, 3)


@pytest.mark.parametrize(
    "url, code, words",
    [
        ("data:image/png;base64,AAA", "invalid_base64", "no whole base64"),
        ("data:image/png;base64,????", "invalid_base64", "no whole base64"),
        ("data:image/png,abc", None, "found 'data:image/png'"),
        ("data:", None, "expected data:image/png;base64"),
        (data_url(b"GIF89a no more"), "image_not_an_image", "messages[0].content[0]"),
        (data_url(encoded(tiny.image(0))[:-2000]), "image_damaged", "whole image"),
        (data_url(b"<svg/>"), "image_not_an_image", "one of PNG"),
        (data_url(bomb(10**5, 10**5)), "image_too_large", "at most 160000 pixels"),
        ("ftp://a/b.png", "unsupported_url", "'ftp'"),
        ("javascript:alert(1)", "unsupported_url", "'javascript'"),
        ("/etc/passwd", "files_refused", "--files"),
        ("file:///etc/passwd", "files_refused", "--files"),
        ("", "files_refused", "--files"),
        ("file://[", "files_refused", "--files"),
        ("ftp://[", "unsupported_url", "'ftp'"),
    ],
)
def test_what_cannot_be_used_is_named(url, code, words):
    with pytest.raises(RequestError) as found:
        open_one(url)
    assert (found.value.status, found.value.code) == (400, code)
    assert words in str(found.value) and len(str(found.value)) < 400


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 50}, {"exif": b"Exif\0\0"}])
def test_no_room_is_made_for_a_webp_that_is_too_large(options, monkeypatch):
    data = io.BytesIO()
    Image.new("RGB", (500, 401)).save(data, "WEBP", **options)
    assert webp.size(data.getvalue()[: webp.HEADER_BYTES]) == (500, 401)
    monkeypatch.setattr(Image, "open", None)
    with pytest.raises(RequestError, match="found 500 x 401 pixels"):
        open_one(data_url(data.getvalue()))


def test_the_images_of_a_request_share_one_bound_of_pixels():
    url = data_url(encoded(tiny.image(0)))
    with pytest.raises(RequestError, match=r"b: expected at most 47104 pixels"):
        pictures.open_all((url, url), ("a", "b"), pictures.Sources(max_pixels=400 * 400), {})


def test_files_are_read_below_their_folder_alone(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a b.png").write_bytes(encoded(tiny.image(0)))
    (tmp_path / "out.png").write_bytes(encoded(tiny.image(0)))
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "out.png")
    sources = pictures.Sources(files=tmp_path / "in")
    for url in ("a b.png", str(tmp_path / "in" / "a b.png"), f"file://{tmp_path}/in/a%20b.png"):
        assert open_one(url, sources).shape == (336, 336, 3)
    outside = ("../out.png", "link.png", "/etc/passwd", "file:///etc/passwd", "a/../../out.png",
               "file:///..%2f..%2fetc/passwd", "\0", "file:///%00")  # fmt: skip
    for url in outside:
        with pytest.raises(RequestError) as found:
            open_one(url, sources)
        assert found.value.code == "image_outside_root"
    for url, code in (("missing.png", "image_missing"), (".", "image_missing"),
                      ("file://x/a%20b.png", "other_host"), ("file://[", None)):  # fmt: skip
        with pytest.raises(RequestError) as found:
            open_one(url, sources)
        assert found.value.code == code and str(tmp_path) not in str(found.value)


def test_a_jpeg_that_repeats_a_scan_without_end_is_not_decoded():
    data = io.BytesIO()
    Image.fromarray(tiny.image(0)).save(data, "JPEG", progressive=True)
    whole = data.getvalue()
    last = whole.rindex(b"\xff\xda")
    repeated = whole[:last] + whole[last:-2] * 100 + whole[-2:]
    assert open_one(data_url(whole)).shape == (336, 336, 3)
    with pytest.raises(RequestError, match="a JPEG of at most 48 scans, found one of 1"):
        open_one(data_url(repeated))


def test_an_image_of_the_web_is_what_was_fetched():
    url = "https://a.example/b.png"
    assert pictures.is_remote(url) and pictures.is_remote("HTTP://a")
    assert open_one(url, fetched={url: encoded(tiny.image(0))}).shape == (336, 336, 3)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "169.254.169.254", "192.168.0.1", "0.0.0.0", "::1", "fe80::1%eth0",
     "fd00::1", "::ffff:127.0.0.1", "224.0.0.1", "100.64.0.1", "64:ff9b::a9fe:a9fe",
     "2002:a9fe:a9fe::1", "::127.0.0.1", "fec0::1", "2001:0:1:2:3:4:5:6"],
)  # fmt: skip
def test_addresses_of_private_networks_are_not_connected_to(address):
    assert not remote.is_public(address)


def test_the_page_runs_its_own_script_alone():
    found = page.load()
    assert found.text.count("<script") == 1 and "http" not in found.text
    assert "innerHTML" not in found.text and "--accent" in found.text
    assert "script-src 'sha256-" in found.policy and "default-src 'none'" in found.policy
