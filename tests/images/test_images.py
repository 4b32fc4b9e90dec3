"""A corpus of pictures through `Images.prepare`: clean JPEGs, or clear errors."""

from __future__ import annotations

import io
import itertools
import struct
import subprocess
import sys
import threading
from typing import Any

import pillow_heif
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cookcam.images import ImageError, Images, ImageTooLarge, InvalidImage, Limits, WrongImageType
from cookcam.images import images as images_module
from cookcam.images.headers import MAX_SCANS, Header, measure
from tests.images.pictures import (
    animation,
    encoded,
    heic_of_one_tile_many_times,
    heic_with_sizes,
    jpeg_claiming,
    motion_photo,
    near,
    opened,
    photograph,
    plain,
    png_bomb,
    png_of,
    png_with_text,
    webp_claiming,
    with_stray_bytes,
)

FIT = (80, 80)


async def prepared(data: bytes, fit: tuple[int, int] = FIT) -> Image.Image:
    return opened(await Images().prepare(data, fit=fit))


class TestValidImages:
    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIF", "AVIF"])
    async def test_image_fits_and_keeps_its_aspect_ratio(self, kind: str):
        picture = await prepared(plain(1000, 500, kind))
        assert picture.size == (80, 40)
        assert near(picture.getpixel((40, 20)), (255, 0, 0))
        assert (await prepared(plain(500, 1000, kind))).size == (40, 80)

    async def test_small_image_is_not_enlarged(self):
        assert (await prepared(plain(7, 5))).size == (7, 5)
        assert (await prepared(plain(1, 1, "PNG"))).size == (1, 1)

    async def test_very_long_image(self):
        assert (await prepared(plain(16_000, 2, "PNG"))).size == (80, 1)

    @pytest.mark.parametrize("kind", ["JPEG", "HEIF", "AVIF"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    async def test_image_is_rotated_upright(self, kind: str, orientation: int):
        upright = Image.new("RGB", (400, 200), "white")
        upright.paste("red", (0, 0, 200, 100))  # the upper left corner
        exif = Image.Exif()
        exif[0x0112] = orientation
        exif[0x010E] = "somewhere private"
        turned = as_a_camera_stores_it(upright, orientation)
        picture = await prepared(encoded(turned, kind, exif=exif.tobytes()))
        assert picture.size == (80, 40)
        assert near(picture.getpixel((5, 5)), (255, 0, 0))
        assert near(picture.getpixel((75, 35)), (255, 255, 255))

    @pytest.mark.parametrize("kind", ["PNG", "WEBP"])
    async def test_other_formats_are_rotated_upright(self, kind: str):
        exif = Image.Exif()
        exif[0x0112] = 6
        data = encoded(Image.new("RGB", (100, 50)), kind, exif=exif)
        assert (await prepared(data)).size == (40, 80)

    async def test_broken_metadata_is_ignored(self):
        data = encoded(Image.new("RGB", (20, 10)), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
        assert (await prepared(data)).size == (20, 10)

    @pytest.mark.parametrize("kind", ["JPEG", "HEIF", "AVIF"])
    async def test_metadata_is_removed(self, kind: str):
        secret = b"52.5200 N, 13.4050 E"
        exif = Image.Exif()
        exif[0x010E] = secret.decode()
        data = encoded(
            Image.new("RGB", (20, 10)),
            kind,
            exif=exif,
            xmp=secret,
            comment=secret,
            icc_profile=secret * 9,
        )
        assert secret in data
        assert secret not in await Images().prepare(data, fit=FIT)

    @pytest.mark.parametrize("progressive", [False, True])
    async def test_video_of_a_motion_photo_is_ignored(self, progressive: bool):
        film = motion_photo().removeprefix(photograph(quality=90))
        picture = await prepared(photograph(quality=90, progressive=progressive) + film)
        assert picture.size == (80, 53)
        assert picture.tobytes() == (
            (await prepared(photograph(quality=90, progressive=progressive))).tobytes()
        )

    @pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 1}])
    async def test_stray_bytes_between_jpeg_segments_are_skipped(self, options: dict[str, Any]):
        jpeg = photograph(**options)
        expected, drawn = await prepared(jpeg), await prepared(with_stray_bytes(jpeg))
        assert drawn.tobytes() == expected.tobytes()

    async def test_png_text_of_any_length_is_ignored(self):
        picture = await prepared(png_with_text())
        assert picture.size == (64, 48)
        assert near(picture.getpixel((40, 20)), (255, 0, 0))

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
    async def test_bytes_after_the_image_are_ignored(self, kind: str):
        assert (await prepared(plain(64, 48, kind) + b"\0stray" * 1_000)).size == (64, 48)

    @pytest.mark.parametrize(
        ("mode", "color", "becomes"),
        [
            ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
            ("L", 128, (128, 128, 128)),
        ],
    )
    async def test_jpeg_in_other_colour_spaces(self, mode: str, color: object, becomes: object):
        picture = await prepared(encoded(Image.new(mode, (100, 100), color), "JPEG"))
        assert near(picture.getpixel((40, 40)), becomes)

    @pytest.mark.parametrize(
        ("mode", "color", "becomes"),
        [
            ("1", 1, (255, 255, 255)),
            ("L", 77, (77, 77, 77)),
            ("LA", (0, 0), (255, 255, 255)),
            ("P", 5, None),
            ("RGBA", (255, 0, 0, 0), (255, 255, 255)),
            ("RGBA", (255, 0, 0, 128), (255, 127, 127)),
            ("I;16", 0x8000, (128, 128, 128)),
        ],
    )
    async def test_png_in_other_colour_spaces(self, mode: str, color: object, becomes: object):
        picture = await prepared(encoded(Image.new(mode, (100, 100), color), "PNG"))
        if becomes is not None:
            assert near(picture.getpixel((40, 40)), becomes)

    async def test_a_transparent_colour_of_a_palette_or_of_rgb_becomes_white(self):
        palette = Image.new("P", (50, 50), 3)
        palette.putpalette(bytes(range(30)))
        rgb = Image.new("RGB", (50, 50), (9, 9, 9))
        for picture, transparent in ((palette, 3), (rgb, (9, 9, 9))):
            data = encoded(picture, "PNG", transparency=transparent)
            assert near((await prepared(data)).getpixel((20, 20)), (255, 255, 255))

    @pytest.mark.parametrize("kind", ["PNG", "WEBP"])
    async def test_first_frame_of_an_animation_is_used(self, kind: str):
        picture = await prepared(animation(kind))
        assert picture.size == (40, 30)
        assert near(picture.getpixel((20, 15)), (255, 0, 0))

    async def test_strips_join_without_a_seam(self):
        gradient = Image.linear_gradient("L").resize((600, 9_000)).convert("RGB")
        picture = await prepared(encoded(gradient, "PNG"), (4_000, 4_000))
        assert picture.size == (267, 4_000)
        column = [picture.getpixel((100, y))[0] for y in range(4_000)]
        assert all(-3 <= b - a <= 3 for a, b in itertools.pairwise(column))


class TestHeic:
    @pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
    async def test_transparency_becomes_white(self, kind: str):
        data = encoded(Image.new("RGBA", (100, 100), (255, 0, 0, 0)), kind)
        assert near((await prepared(data)).getpixel((40, 40)), (255, 255, 255))

    @pytest.mark.parametrize("size", [(64, 48), (101, 33), (1, 1)])
    async def test_odd_sizes_are_cropped_as_the_file_says(self, size: tuple[int, int]):
        assert (await prepared(plain(*size, "HEIF"), (200, 200))).size == size

    @pytest.mark.parametrize("primary", [0, 1, 2])
    async def test_primary_image_is_used(self, primary: int):
        colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
        first, *others = [Image.new("RGB", (64 + n, 64), color) for n, color in enumerate(colors)]
        data = encoded(first, "HEIF", save_all=True, append_images=others, primary_index=primary)
        picture = await prepared(data)
        assert picture.size == (64 + primary, 64)
        assert near(picture.getpixel((30, 30)), colors[primary])

    async def test_tiles_as_phones_store_them(self):
        upright = Image.new("RGB", (700, 500), "white")
        upright.paste("red", (0, 0, 350, 250))
        exif = Image.Exif()
        exif[0x0112] = 6
        turned = as_a_camera_stores_it(upright, 6)
        picture = await prepared(encoded(turned, "HEIF", exif=exif.tobytes(), tile_size=256))
        assert picture.size == (80, 57)
        assert near(picture.getpixel((20, 15)), (255, 0, 0))
        assert near(picture.getpixel((60, 15)), (255, 255, 255))

    async def test_10_bits_a_colour(self):
        gray = pillow_heif.from_bytes("RGB;16", (64, 64), struct.pack("<H", 0x8000) * 3 * 64 * 64)
        out = io.BytesIO()
        gray.save(out)
        assert near((await prepared(out.getvalue())).getpixel((30, 30)), (128, 128, 128))

    @pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
    async def test_bytes_after_the_heic_image_are_ignored(self, kind: str):
        film = b"\0\0\x10\0mpvd" + b"film" * 100_000  # longer than its box says
        assert (await prepared(plain(64, 64, kind) + film)).size == (64, 64)

    @pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
    async def test_more_pixels_than_it_declares_are_not_decoded(self, kind: str):
        data = heic_with_sizes(plain(1024, 1024, kind), (1024, 1024), (64, 64))
        with pytest.raises(InvalidImage) as rejected:
            await Images().prepare(data, fit=FIT)
        assert rejected.value.status == 422

    async def test_tiles_that_the_image_does_not_need_are_not_decoded(self):
        assert measure(heic_of_one_tile_many_times(0)).pixels == 128 * 64
        with pytest.raises(InvalidImage):
            measure(heic_of_one_tile_many_times(1_000))

    async def test_undecodable_format_is_named_in_the_error(self):
        data = plain(64, 64, "HEIF")
        with pytest.raises(
            InvalidImage, match=r"HEIC image could not be decoded\. Send it as a JPEG"
        ):
            await Images().prepare(data[:-20], fit=FIT)

    @pytest.mark.parametrize(
        ("data", "name"),
        [
            (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42\0\0\0\x08free", "film"),
            (b"\0\0\0\x14ftyphevc\0\0\0\0msf1\0\0\0\x08moov", "sequence"),
            (encoded(Image.new("P", (8, 8)), "GIF"), "GIF"),
            (animation("AVIF"), "AVIF animation"),
            (plain(64, 64, "HEIF").replace(b"hvc1", b"vvc1"), "HEIF image of an unusual codec"),
        ],
    )
    async def test_unsupported_formats_are_named_in_the_error(self, data: bytes, name: str):
        with pytest.raises(WrongImageType, match=rf"{name}.*Send the image as a JPEG") as rejected:
            await Images().prepare(data, fit=FIT)
        assert rejected.value.status == 400

    def test_no_decoder_is_imported_before_the_first_image(self):
        program = "import sys, cookcam.app.program; sys.exit('PIL' in sys.modules)"
        subprocess.run([sys.executable, "-c", program], check=True)


def as_a_camera_stores_it(upright: Image.Image, orientation: int) -> Image.Image:
    turn = Image.Transpose
    undone = {
        2: turn.FLIP_LEFT_RIGHT,
        3: turn.ROTATE_180,
        4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE,
        6: turn.ROTATE_90,
        7: turn.TRANSVERSE,
        8: turn.ROTATE_270,
    }.get(orientation)
    return upright if undone is None else upright.transpose(undone)


FOREIGN = {
    "gif": encoded(Image.new("P", (8, 8)), "GIF"),
    "bmp": encoded(Image.new("RGB", (8, 8)), "BMP"),
    "tiff": encoded(Image.new("RGB", (8, 8)), "TIFF"),
    "pdf": b"%PDF-1.7\n1 0 obj\n",
    "svg": b'\n<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "xml": b'\xef\xbb\xbf<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc">]>',
    "html": b"<!doctype html><p>",
    "film": b"\0\0\0\x10ftypmp42\0\0\0\0",
    "zip": b"PK\x03\x04" + b"\0" * 30,
}

BROKEN = {
    "empty": b"",
    "text": b"just some words",
    "one byte": b"\xff",
    "magic only": b"\xff\xd8\xff",
    "truncated jpeg": plain(300, 300)[:-200],
    "half a jpeg": plain(300, 300)[:350],
    "truncated png": plain(300, 300, "PNG")[:-40],
    "truncated webp": plain(300, 300, "WEBP")[:-10],
    "truncated heic": plain(300, 300, "HEIF")[:-10],
    "truncated avif": plain(300, 300, "AVIF")[:-10],
    "half a heic": plain(300, 300, "HEIF")[:200],
    "heic without boxes": b"\0\0\0\x18ftypheic\0\0\0\0",
    "webp without frames": webp_claiming(10, 10),
    "no pixels": png_of(0, 10, b""),
    "not enough pixels": png_of(100, 100, b"x\x9c\x03\x00\x00\x00\x00\x01"),
    "jpeg of text": b"\xff\xd8\xff\xe0" + b"hello" * 100,
    "riff of sound": b"RIFF\x24\0\0\0WAVEfmt ",
}

BOMBS = {
    "png": png_bomb(),
    "jpeg": jpeg_claiming(30_000, 30_000),
    "largest jpeg": jpeg_claiming(65_535, 65_535),
    "webp": webp_claiming(16_384, 16_384),
    "huge webp": webp_claiming(1 << 24, 1 << 24),
    "heic": heic_with_sizes(plain(64, 64, "HEIF"), (64, 64), (30_000, 30_000)),
    "avif": heic_with_sizes(plain(64, 64, "AVIF"), (64, 64), (2**31, 2**31)),
    "largest png": png_of(2**31 - 1, 2**31 - 1, b""),
    "just over": png_of(40_000, 1_001, b""),
}


class TestRejectedImages:
    @pytest.mark.parametrize("kind", FOREIGN)
    async def test_other_file_types_are_rejected(self, kind: str):
        with pytest.raises(WrongImageType) as rejected:
            await Images().prepare(FOREIGN[kind], fit=FIT)
        assert rejected.value.status == 400

    @pytest.mark.parametrize("kind", BROKEN)
    async def test_undecodable_images_are_rejected(self, kind: str):
        with pytest.raises(InvalidImage) as rejected:
            await Images().prepare(BROKEN[kind], fit=FIT)
        assert (rejected.value.status, rejected.value.code) == (422, "INVALID_IMAGE")
        assert rejected.value.__cause__ is None

    @pytest.mark.parametrize("kind", BOMBS)
    async def test_bombs_are_rejected_before_decoding(
        self, kind: str, monkeypatch: pytest.MonkeyPatch
    ):
        assert len(BOMBS[kind]) < 20_000

        def decode(*_: object) -> bytes:
            raise AssertionError("a bomb was decoded")

        monkeypatch.setattr(images_module, "reencode", decode)
        with pytest.raises(InvalidImage, match="more than 40 megapixels"):
            await Images().prepare(BOMBS[kind], fit=FIT)

    async def test_decoded_size_must_match_the_header(self):
        data = jpeg_claiming(200, 100) + plain(50, 50)
        picture = await prepared(data)
        assert picture.size == (80, 40)  # data after the first image is ignored
        lying = webp_claiming(20, 20)[:30] + plain(64, 64, "WEBP")[12:]
        with pytest.raises(InvalidImage):
            await prepared(b"RIFF" + struct.pack("<I", len(lying) - 8) + lying[8:])

    async def test_jpeg_with_too_many_scans_is_rejected(self):
        data = plain(100, 100)
        scan = data[data.index(b"\xff\xda") : -2]
        with pytest.raises(InvalidImage):
            await Images().prepare(data[:-2] + scan * MAX_SCANS + data[-2:], fit=FIT)

    async def test_scans_after_a_comment_like_an_end_marker_are_counted(self):
        data = plain(100, 100, "JPEG")
        scan = data[data.index(b"\xff\xda") : -2]
        comment = b"\xff\xfe\0\x06\xff\xd9\xff\xd9"
        with pytest.raises(InvalidImage):
            await Images().prepare(data[:-2] + comment + scan * MAX_SCANS, fit=FIT)

    async def test_jpeg_with_too_many_segments_is_rejected(self):
        data = plain(100, 100)
        with pytest.raises(InvalidImage):
            await Images().prepare(data[:2] + b"\xff\xfe\0\2" * 10_000 + data[2:], fit=FIT)

    async def test_too_many_bytes(self):
        data = plain()
        limits = Limits(max_bytes=len(data))
        await Images().prepare(data, fit=FIT, limits=limits)
        with pytest.raises(ImageTooLarge) as rejected:
            await Images().prepare(data + b"\0", fit=FIT, limits=limits)
        assert rejected.value.status == 413

    async def test_pixel_limit_of_the_caller(self):
        await Images().prepare(plain(100, 100), fit=FIT, limits=Limits(max_pixels=10_000))
        with pytest.raises(InvalidImage):
            await Images().prepare(plain(100, 101), fit=FIT, limits=Limits(max_pixels=10_000))


MAGIC = [
    b"",
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"\0\0\0\x10ftypheic\0\0\0\0",
    plain(64, 64, "AVIF")[:100],
]


class TestHeaders:
    @given(st.binary(max_size=400), st.sampled_from(MAGIC))
    @settings(max_examples=200, deadline=None)
    def test_any_bytes_give_a_header_or_an_image_error(self, data: bytes, magic: bytes):
        try:
            header = measure(magic + data)
        except ImageError:
            return
        assert header.pixels > 0

    @given(
        st.sampled_from(["JPEG", "PNG", "WEBP", "AVIF"]),
        st.integers(1, 400),
        st.integers(1, 400),
        st.booleans(),
    )
    @settings(max_examples=60, deadline=None)
    def test_it_agrees_with_pillow(self, kind: str, width: int, height: int, special: bool):
        options = {"JPEG": {"progressive": special}, "WEBP": {"lossless": special}}.get(kind, {})
        mode = "RGBA" if special and kind != "JPEG" else "RGB"
        data = encoded(Image.new(mode, (width, height)), kind, **options)
        assert measure(data) == Header(kind, width, height)

    @given(st.data())
    @settings(max_examples=60, deadline=None)
    def test_damaged_images_are_decoded_or_rejected(self, data: st.DataObject):
        kind = data.draw(st.sampled_from(["JPEG", "PNG", "WEBP", "HEIF", "AVIF"]))
        whole = bytearray(plain(40, 40, kind))
        for _ in range(data.draw(st.integers(1, 4))):
            whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
        try:
            header = Images().check(bytes(whole))
            jpeg = images_module.reencode(bytes(whole), header, FIT)
        except ImageError:
            return
        opened(jpeg)


class TestThreads:
    async def test_cancelled_call_returns_at_once_and_occupies_the_limiter(
        self, monkeypatch: pytest.MonkeyPatch
    ):
        go_on, running = threading.Event(), threading.Semaphore(0)
        most, now, lock = 0, 0, threading.Lock()

        def decode(data: bytes, *_: object) -> bytes:
            nonlocal most, now
            with lock:
                now += 1
                most = max(most, now)
            running.release()
            go_on.wait(10)
            with lock:
                now -= 1
            return data

        monkeypatch.setattr(images_module, "reencode", decode)
        images, data = Images(), plain()
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(lambda: images.prepare(data, fit=FIT))
            await trio.to_thread.run_sync(running.acquire)
            await trio.to_thread.run_sync(running.acquire)
            nursery.cancel_scope.cancel()
        # Both threads still work; a newcomer waits for one of them.
        assert now == 2
        with trio.move_on_after(0.05) as waited:
            await images.prepare(data, fit=FIT)
        assert waited.cancelled_caught
        go_on.set()
        assert await images.prepare(data, fit=FIT) == data
        assert most == 2

    async def test_concurrent_images_are_correct(self):
        images = Images()
        results: dict[int, tuple[int, int]] = {}

        async def one(n: int) -> None:
            jpeg = await images.prepare(plain(200 + n, 100, "PNG"), fit=(1000, 1000))
            results[n] = Image.open(io.BytesIO(jpeg)).size

        async with trio.open_nursery() as nursery:
            for n in range(20):
                nursery.start_soon(one, n)
        assert results == {n: (200 + n, 100) for n in range(20)}
