"""How much memory a picture takes at most, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from PIL import Image

from tests.images.pictures import encoded, heic_with_sizes, plain, png_bomb, png_of

# One worker makes the pictures, which takes 8 s of processor time.
pytestmark = pytest.mark.xdist_group("large-pictures")

MEASURE = """
import re, sys, trio
from cookcam.images import ImageError, Images

def peak():
    # Not getrusage: its maximum begins with the size of the process that started this one.
    return int(re.search("VmHWM:[^0-9]*([0-9]+)", open("/proc/self/status").read())[1])

async def main():
    images = Images()
    small, *large = [open(path, "rb").read() for path in sys.argv[1:]]
    await images.prepare(small, fit=(8, 8))  # Pillow is imported by now
    before = peak()
    for data in large:
        try:
            await images.prepare(data, fit=(800, 800))
        except ImageError as error:
            print(error.code, end=" ")
    print((peak() - before) // 1024)

trio.run(main)
"""


def large_png(width: int, height: int) -> bytes:
    packer = zlib.compressobj(1)
    row = b"\0" + bytes(range(256)) * (width * 3 // 256 + 1)
    packed = b"".join(packer.compress(row[: 1 + width * 3]) for _ in range(height))
    return png_of(width, height, packed + packer.flush())


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("pictures")
    (home / "small.png").write_bytes(plain(8, 8, "PNG"))
    (home / "8k.jpg").write_bytes(plain(7680, 4320))
    (home / "40mp.png").write_bytes(large_png(8000, 5000))
    gradient = Image.linear_gradient("L").resize((8000, 5000)).convert("RGB")
    fast = {"preset": "ultrafast"}  # the usual preset takes 11 s more
    (home / "40mp.heic").write_bytes(encoded(gradient, "HEIF", quality=20, enc_params=fast))
    (home / "40mp.avif").write_bytes(encoded(gradient, "AVIF", quality=20, speed=10))
    for kind in ("heic", "avif"):
        whole = (home / f"40mp.{kind}").read_bytes()
        smaller = heic_with_sizes(whole, (8000, 5000), (512, 512))
        (home / f"liar.{kind}").write_bytes(smaller)
    (home / "bomb.png").write_bytes(png_bomb())
    return home


def measured(home: Path, *names: str) -> list[str]:
    paths = [str(home / name) for name in ("small.png", *names)]
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, *paths], capture_output=True, text=True, check=True
    )
    return ran.stdout.split()


def test_the_largest_picture_taken_costs_little_more_than_itself(pictures: Path):
    (mebibytes,) = measured(pictures, "40mp.png")
    assert int(mebibytes) < 300  # 153 of them are its pixels


def test_a_photograph_of_8k_is_never_decoded_whole(pictures: Path):
    (mebibytes,) = measured(pictures, "8k.jpg")
    assert int(mebibytes) < 90  # its pixels would be 127


@pytest.mark.parametrize("name", ["40mp.heic", "40mp.avif"])
def test_the_largest_heic_and_avif_cost_less_than_the_largest_webp(pictures: Path, name: str):
    (mebibytes,) = measured(pictures, name)
    assert int(mebibytes) < 450  # 153 of them are its pixels


@pytest.mark.parametrize("name", ["liar.heic", "liar.avif"])
def test_an_image_larger_than_it_declares_is_not_decoded(pictures: Path, name: str):
    code, mebibytes = measured(pictures, name)
    assert code == "INVALID_IMAGE"
    assert int(mebibytes) < 40  # its decoder is imported too


def test_decompression_bomb_is_rejected_without_decoding_it(pictures: Path):
    code, mebibytes = measured(pictures, "bomb.png")
    assert code == "INVALID_IMAGE"
    assert int(mebibytes) < 5  # its pixels would be 3433
