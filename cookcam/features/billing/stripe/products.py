"""What app stores sell for us (`spec/payments-and-gamification.md` §3.2): an exact table."""

from __future__ import annotations

from typing import Final, Literal

from attrs import frozen

from cookcam.features.billing.tiers.models import CREATOR, REGULAR

Platform = Literal["ios", "android"]
Interval = Literal["month", "year"]


@frozen
class Product:
    """`legacy` ones are no longer offered, and still honoured."""

    id: str
    platform: Platform
    tier_id: int
    interval: Interval
    legacy: bool = False


PRODUCTS: Final[tuple[Product, ...]] = (
    Product("com.cookcam.pro.monthly", "ios", REGULAR, "month"),
    Product("com.cookcam.pro.yearly", "ios", REGULAR, "year"),
    Product("com.cookcam.creator.monthly", "ios", CREATOR, "month"),
    Product("com.cookcam.creator.yearly", "ios", CREATOR, "year"),
    Product("com.cookcam.monthly", "ios", REGULAR, "month", legacy=True),
    Product("cookcam_pro_monthly", "android", REGULAR, "month"),
    Product("cookcam_pro_yearly", "android", REGULAR, "year"),
    Product("cookcam_creator_monthly", "android", CREATOR, "month"),
    Product("cookcam_creator_yearly", "android", CREATOR, "year"),
    Product("com.cookcam.monthly", "android", REGULAR, "month", legacy=True),
)


def product_of(platform: Platform, product_id: str) -> Product | None:
    """The product of exactly that id, or None: an unknown one is refused, never guessed at."""
    return next(
        (item for item in PRODUCTS if item.platform == platform and item.id == product_id), None
    )
