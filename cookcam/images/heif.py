"""Reads the codec and the sizes of the images in HEIC and AVIF files.

Both are HEIF files: boxes (ISO/IEC 14496-12) that describe items, one of them the primary image
(ISO/IEC 23008-12). It is coded as a whole or as a grid of tiles, which are items too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Literal

from attrs import define, field, frozen

from cookcam.images.errors import InvalidImage, WrongImageType

MEGAPIXEL = 1_000_000

_MAX_FIELDS = 20_000
"""Maximum numbers read from one file; a photo of 48 megapixels in 192 tiles has about 3,000."""

_MAX_WORK = 4
"""Pixels decoded (tiles, alpha, depth and gain maps too) per pixel of the image. Phones reach 3."""

_HEVC = frozenset((b"hvc1", b"hev1"))
_DERIVED = frozenset((b"grid", b"iden", b"iovl"))
_SEQUENCE_BRANDS = frozenset((b"hevc", b"hevx", b"msf1", b"avis"))
_FILM_BRANDS = frozenset((b"isom", b"iso2", b"mp41", b"mp42", b"M4V ", b"qt  ", b"3gp4", b"3gp5"))
_SINGLE_BOXES = frozenset(
    (b"meta", b"moov", b"pitm", b"iinf", b"iprp", b"ipco", b"ipma", b"iref", b"iloc", b"idat")
)
_AV1_SEQUENCE_HEADER = 1


@define
class _Reader:
    """Reads consecutive big-endian numbers of a file. Raises IndexError at its end."""

    data: bytes
    at: int = 0
    fields_left: int = field(default=_MAX_FIELDS, init=False)

    def number(self, size: int) -> int:
        self.fields_left -= 1
        if self.fields_left < 0:
            raise InvalidImage()
        content = self.data[self.at : self.at + size]
        if len(content) < size:
            raise IndexError
        self.at += size
        return int.from_bytes(content)

    def boxes(self, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
        """The boxes between two offsets: type, start and end of the content."""
        while start + 8 <= end:
            self.at = start
            size, kind = self.number(4), self.number(4).to_bytes(4)
            if size == 1:
                size = self.number(8)
            elif size == 0:
                size = end - start
            content, start = self.at, start + size
            if start < content or start > end:
                raise InvalidImage()
            yield kind, content, start

    def single_boxes(self, start: int, end: int) -> dict[bytes, tuple[int, int]]:
        """The boxes by type. Types that would be ambiguous may occur only once."""
        by_type: dict[bytes, tuple[int, int]] = {}
        for kind, content, ends in self.boxes(start, end):
            if kind in by_type and kind in _SINGLE_BOXES:
                raise InvalidImage()
            by_type[kind] = (content, ends)
        return by_type

    def full_box(self, box: tuple[int, int]) -> tuple[int, int]:
        """Move to the content of a box and return its version and flags."""
        self.at = box[0]
        return self.number(1), self.number(3)


@frozen
class _Items:
    """The items of a file by number."""

    primary: int
    types: dict[int, bytes]
    sizes: dict[int, tuple[int, int]]
    parts: dict[int, list[int]]
    """Derived image → its source images."""
    auxiliaries: dict[int, list[int]]
    """Image → its alpha plane, depth map and other auxiliary images."""

    def size(self, item: int) -> tuple[int, int]:
        try:
            return self.sizes[item]
        except KeyError:
            raise InvalidImage() from None


def measure_heif(data: bytes) -> tuple[Literal["HEIF", "AVIF"], int, int]:
    """The decoder to use and the primary image's width and height, before any rotation.

    Raises WrongImageType for a video or an unsupported codec, InvalidImage for a broken file and
    for one that would decode more pixels than its image size justifies.
    """
    reader = _Reader(data)
    top = reader.single_boxes(0, _end_of_boxes(data))
    if b"meta" not in top:
        if data[8:12] in _SEQUENCE_BRANDS:
            raise WrongImageType.of("an animation (HEIC or AVIF sequence)")
        if b"moov" in top or data[8:12] in _FILM_BRANDS:
            raise WrongImageType.of("a film (MP4 or QuickTime)")
        raise InvalidImage()
    reader.full_box(top[b"meta"])
    meta = reader.single_boxes(reader.at, top[b"meta"][1])
    items = _items(reader, meta)
    width, height = items.size(items.primary)
    decoded = _decoded_items(items)
    areas = [w * h for w, h in map(items.size, decoded)]
    image = width * height
    if max(areas) > image + MEGAPIXEL or sum(areas) > _MAX_WORK * image + MEGAPIXEL:
        raise InvalidImage()
    codecs = {items.types.get(item, b"") for item in decoded} - _DERIVED
    if codecs and codecs <= _HEVC:
        return "HEIF", width, height
    if codecs == {b"av01"}:
        if b"moov" in top:
            raise WrongImageType.of("an AVIF animation")
        _check_av1(reader, meta, items, decoded)
        return "AVIF", width, height
    raise WrongImageType.of("a HEIF image of an unusual codec")


def _end_of_boxes(data: bytes) -> int:
    """The end of the last complete box; data after it does not belong to the image."""
    end = 0
    with suppress(InvalidImage):
        for box in _Reader(data).boxes(0, len(data)):
            end = box[2]
    return end


def _items(reader: _Reader, meta: dict[bytes, tuple[int, int]]) -> _Items:
    try:
        primary, infos, properties = meta[b"pitm"], meta[b"iinf"], meta[b"iprp"]
    except KeyError:
        raise InvalidImage() from None
    version, _ = reader.full_box(primary)
    return _Items(
        reader.number(4 if version else 2),
        _types(reader, infos),
        _sizes(reader, properties),
        *_references(reader, meta.get(b"iref")),
    )


def _types(reader: _Reader, infos: tuple[int, int]) -> dict[int, bytes]:
    version, _ = reader.full_box(infos)
    reader.number(4 if version else 2)
    types: dict[int, bytes] = {}
    for kind, start, end in reader.boxes(reader.at, infos[1]):
        version, _ = reader.full_box((start, end))
        if kind == b"infe" and version >= 2:
            item = reader.number(4 if version > 2 else 2)
            reader.number(2)  # protection
            types[item] = reader.number(4).to_bytes(4)
    return types


def _sizes(reader: _Reader, properties: tuple[int, int]) -> dict[int, tuple[int, int]]:
    boxes = reader.single_boxes(*properties)
    if b"ipco" not in boxes or b"ipma" not in boxes:
        raise InvalidImage()
    by_index: dict[int, tuple[int, int]] = {}
    for index, (kind, start, end) in enumerate(reader.boxes(*boxes[b"ipco"]), 1):
        if kind == b"ispe":
            reader.full_box((start, end))
            by_index[index] = reader.number(4), reader.number(4)
    sizes: dict[int, tuple[int, int]] = {}
    version, flags = reader.full_box(boxes[b"ipma"])
    for _ in range(reader.number(4)):
        item = reader.number(4 if version else 2)
        for _ in range(reader.number(1)):
            index = reader.number(2) & 0x7FFF if flags & 1 else reader.number(1) & 0x7F
            if index in by_index and sizes.setdefault(item, by_index[index]) != by_index[index]:
                raise InvalidImage()
    return sizes


def _references(
    reader: _Reader, box: tuple[int, int] | None
) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    parts: dict[int, list[int]] = {}
    auxiliaries: dict[int, list[int]] = {}
    if box is None:
        return parts, auxiliaries
    version, _ = reader.full_box(box)
    size = 4 if version else 2
    for kind, start, _ in reader.boxes(reader.at, box[1]):
        reader.at = start
        source = reader.number(size)
        targets = [reader.number(size) for _ in range(reader.number(2))]
        if kind == b"dimg":
            parts.setdefault(source, []).extend(targets)
        elif kind == b"auxl":
            for target in targets:
                auxiliaries.setdefault(target, []).append(source)
    return parts, auxiliaries


def _decoded_items(items: _Items) -> list[int]:
    """The primary image, its tiles and their auxiliary images; items repeat per use."""
    images = [items.primary, *items.parts.get(items.primary, [])]
    extra = [other for image in images for other in items.auxiliaries.get(image, [])]
    extra += [part for image in extra for part in items.parts.get(image, [])]
    if any(items.types.get(item) in _DERIVED for item in items.parts.get(items.primary, [])):
        raise InvalidImage()  # nested grids are not allowed
    return images + extra


def _check_av1(
    reader: _Reader, meta: dict[bytes, tuple[int, int]], items: _Items, decoded: list[int]
) -> None:
    """Raises InvalidImage if the AV1 data of an item is larger than the item's declared size.

    libavif decodes such data completely and then scales it down.
    """
    contents = _contents(reader, meta)
    for item in set(decoded):
        if items.types.get(item) != b"av01":
            continue
        width, height = items.size(item)
        coded = list(_av1_sizes(contents.get(item, b"")))
        if not coded or any(w > 2 * width or h > 2 * height for w, h in coded):
            raise InvalidImage()


def _contents(reader: _Reader, meta: dict[bytes, tuple[int, int]]) -> dict[int, bytes]:
    """The data of each item, from the `iloc` box (ISO/IEC 14496-12, 8.11.3)."""
    if b"iloc" not in meta:
        raise InvalidImage()
    version, _ = reader.full_box(meta[b"iloc"])
    sizes = reader.number(2)
    offset_size, length_size, base_size, index_size = (sizes >> at & 15 for at in (12, 8, 4, 0))
    contents: dict[int, bytes] = {}
    for _ in range(reader.number(4 if version == 2 else 2)):
        item = reader.number(4 if version == 2 else 2)
        method = reader.number(2) & 15 if version else 0
        reader.number(2)  # data reference
        base = reader.number(base_size)
        if method > 1 or (method == 1 and b"idat" not in meta):
            raise InvalidImage()
        start, end = meta[b"idat"] if method else (0, len(reader.data))
        content = b""
        for _ in range(reader.number(2)):
            if version and index_size:
                reader.number(index_size)
            offset = start + base + reader.number(offset_size)
            length = reader.number(length_size)
            content += reader.data[offset : min(end, offset + length if length else end)]
        if len(content) > len(reader.data):
            raise InvalidImage()
        contents[item] = content
    return contents


def _av1_sizes(content: bytes) -> Iterator[tuple[int, int]]:
    """The largest frame that each sequence header allows (AV1 specification, 5.3 and 5.5)."""
    reader = _Reader(content)
    while reader.at < len(content):
        header = reader.number(1)
        if header & 4:
            reader.number(1)  # extension
        size = _leb128(reader) if header & 2 else len(content) - reader.at
        if header >> 3 & 15 == _AV1_SEQUENCE_HEADER:
            yield _av1_sequence_size(content[reader.at : reader.at + size])
        reader.at += size


def _leb128(reader: _Reader) -> int:
    value = 0
    for shift in range(0, 56, 7):
        byte = reader.number(1)
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value
    raise InvalidImage()


def _av1_sequence_size(content: bytes) -> tuple[int, int]:
    bits = "".join(f"{byte:08b}" for byte in content[:64])
    at = 0

    def take(count: int) -> int:
        nonlocal at
        at += count
        if at > len(bits):
            raise InvalidImage()
        return int(bits[at - count : at], 2)

    take(3)  # profile
    take(1)  # still picture
    reduced = take(1)
    if reduced:
        take(5)  # level
    else:
        if take(1):  # timing information occurs in videos only
            raise InvalidImage()
        has_delay = take(1)
        for _ in range(take(5) + 1):
            take(12)  # operating point
            if take(5) > 7:  # level
                take(1)  # tier
            if has_delay and take(1):
                take(4)
    width_bits, height_bits = take(4) + 1, take(4) + 1
    width, height = take(width_bits) + 1, take(height_bits) + 1
    # Without the reduced header a frame may override the size within the same number of bits.
    return (width, height) if reduced else (1 << width_bits, 1 << height_bits)
