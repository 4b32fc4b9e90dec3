"""Images sent by users, re-encoded as JPEG without metadata.

images = Images()                                     # one per program
data = decode_base64(text)                            # bare or a data URL
jpeg = await images.prepare(data, fit=(800, 800))     # bytes of a JPEG
"""

from cookcam.images.encoding import decode_base64
from cookcam.images.errors import ImageError, ImageTooLarge, InvalidImage, WrongImageType
from cookcam.images.images import IMAGE_TYPES, Images, Limits

__all__ = [
    "IMAGE_TYPES",
    "ImageError",
    "ImageTooLarge",
    "Images",
    "InvalidImage",
    "Limits",
    "WrongImageType",
    "decode_base64",
]
