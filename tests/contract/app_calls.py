"""The calls of the shipped app and the website.

Each entry has the request as the client sends it, and every field of the response that it reads.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from attrs import field, frozen

from tests.images.pictures import plain

Kind = Literal["text", "number", "flag", "list", "object", "text?", "number?", "anything"]

TYPES: Mapping[str, tuple[type, ...]] = {
    "text": (str,),
    "number": (int, float),
    "flag": (bool,),
    "list": (list,),
    "object": (dict,),
    "text?": (str, type(None)),
    "number?": (int, float, type(None)),
}

PHOTO = base64.b64encode(plain()).decode()
BROKEN_UPLOAD = json.dumps(
    {"_parts": [["photo", {"uri": "file:///p.jpg", "type": "image/jpeg", "name": "p.jpg"}]]}
)
JSON_TYPE = {"Content-Type": "application/json"}
CLIENTS: Mapping[str, Mapping[str, str]] = {
    "G": {**JSON_TYPE, "Accept": "application/json"},
    "B": JSON_TYPE,
    "S": JSON_TYPE,
    "P": JSON_TYPE,
    "L": JSON_TYPE,
    "D": JSON_TYPE,
    "W": {**JSON_TYPE, "Origin": "https://cookcam.ai"},
}
"""What each client sends besides the token."""


@frozen
class Call:
    """One row. `who` is `ann`, `cora` (a creator), `zoe` (who deletes her account) or `guest`.

    In the path and the body `{name}` stands for what was kept earlier, as does a text that is
    nothing else, with the type it had. `keep` names what later calls need, by where it is in the
    answer. A call that is `later` is of a feature that this server does not have.
    """

    row: str
    client: str
    who: str
    method: str
    path: str
    body: Any = None
    reads: Mapping[str, Kind] = field(factory=dict)
    status: tuple[int, ...] = (200, 201)
    headers: Mapping[str, str] = field(factory=dict)
    keep: Mapping[str, str] = field(factory=dict)
    later: bool = False


PREFERENCES: dict[str, Any] = {
    "servingSize": 2,
    "cuisinePreferences": ["italian", "surprise"],
    "dietaryTags": ["none"],
    "selectedAppliances": ["oven", "stove", "microwave"],
    "timeAvailable": "any",
    "skillLevel": "any",
    "mealPrepEnabled": False,
    "mealPrepPortions": None,
    "mealType": "dinner",
    "excludeRecipes": [],
}
BECOME_CREATOR: dict[str, Any] = {
    "is_creator": True,
    "creator_bio": "I cook",
    "creator_specialty": "Soup",
    "creator_tier": 1,
    "onboarding_completed": True,
}
RECIPE: dict[str, Kind] = {
    "id": "text",
    "title": "text",
    "description": "text?",
    "prep_time_minutes": "number?",
    "cook_time_minutes": "number?",
    "total_time_minutes": "number?",
    "difficulty": "text?",
    "cuisine_type": "text?",
    "servings": "number?",
    "ingredients": "list",
    "instructions": "list",
    "image_url": "text?",
}
CLICK = {"source": "mobile_deep_link", "platform": "ios", "timestamp": "2026-01-31T12:00:00Z"}
REJECTED: dict[str, Kind] = {"$.error": "text", "$.message": "text"}
CREATOR, STRIPE = "/api/v1/subscription/creator", "/api/v1/subscription/creator/stripe"
TRACK = "/api/v1/subscription/affiliate/track"

CALLS: tuple[Call, ...] = (
    # 5.1 Profile and account
    Call(
        "A1", "B", "ann", "GET", "/api/v1/users/profile",
        reads={
            "$.id": "text", "$.email": "text", "$.name": "text?", "$.is_creator": "flag",
            "$.creator_tier": "number?", "$.level": "number", "$.total_xp": "number",
            "$.xp": "number", "$.streak_current": "number", "$.avatar_url": "text?",
        },
        keep={"ann": "$.id"},
    ),
    Call(
        "A2", "B", "cora", "PUT", "/api/v1/auth/profile", BECOME_CREATOR,
        reads={"$.user": "object", "$.user.is_creator": "flag", "$.message": "text"},
        keep={"cora": "$.user.id"},
    ),
    Call(
        "A2 without the tier", "B", "ann", "PUT", "/api/v1/auth/profile", BECOME_CREATOR,
        reads=REJECTED, status=(403,),
    ),
    Call(
        "A3 as the app sends it", "G", "ann", "POST", "/api/v1/auth/profile/photo",
        BROKEN_UPLOAD, reads=REJECTED, status=(400,),
        headers={"Content-Type": "multipart/form-data"},
    ),
    Call(
        "A5", "G", "ann", "POST", "/api/v1/auth/link-referral", {"referralCode": "{chef}"},
        reads={"$.success": "flag", "$.message": "text"},
    ),
    # 5.2 Scan and ingredients
    Call(
        "B1", "G", "ann", "POST", "/api/v1/scan/analyze", {"image_data": PHOTO},
        reads={
            "$.ingredients": "list", "$.ingredients[].name": "text",
            "$.ingredients[].confidence": "number", "$.ingredients[].quantity": "text",
            "$.ingredients[].unit": "text", "$.ingredients[].variety": "text",
            "$.ingredients[].category": "text", "$.confidence_score": "number",
        },
    ),
    Call(
        "B1 as a guest, a data URL", "G", "guest", "POST", "/api/v1/scan/analyze",
        {"image_data": f"data:image/jpeg;base64,{PHOTO}"}, reads={"$.ingredients[].name": "text"},
    ),
    Call(
        "B2", "G", "ann", "GET", "/api/v1/ingredients/search?q={food}&limit=1",
        reads={"$": "list", "$[].id": "number", "$[].name": "text"},
    ),
    Call(
        "B3", "B", "guest", "GET", "/api/v1/ingredients/search?query={food}&limit=5",
        reads={"$": "list", "$[].title": "text"},
    ),
    # 5.3 Recipes
    Call(
        "C1", "G", "ann", "POST", "/api/v1/recipes/generate-previews",
        {"detectedIngredients": ["chicken", "rice", "tomato"], "userPreferences": PREFERENCES},
        reads={
            "$.data.sessionId": "text", "$.data.previews": "list", "$.data.previews[].id": "text",
            "$.data.previews[].title": "text", "$.data.previews[].description": "text",
            "$.data.previews[].estimatedTime": "number", "$.data.previews[].difficulty": "text",
            "$.data.previews[].cuisineType": "text",
        },
        keep={"session": "$.data.sessionId", "preview": "$.data.previews[]"},
    ),
    Call(
        "C2", "G", "ann", "POST", "/api/v1/recipes/generate-detailed",
        {"selectedPreview": "{preview}", "sessionId": "{session}"},
        reads={
            "$.data.recipe.ingredients": "list", "$.data.recipe.instructions": "list",
            "$.data.recipe.instructions[].instruction": "text", "$.data.recipe.tips": "list",
            "$.data.stored_recipe.id": "text",
        },
        keep={"recipe": "$.data.stored_recipe.id"},
    ),
    Call(
        "C3", "G", "ann", "POST", "/api/v1/recipes/{recipe}/favorite",
        reads={"$.favorited": "flag"},
    ),
    Call(
        "C4", "G", "ann", "GET", "/api/v1/recipes/saved/my?limit=50&offset=0",
        reads={
            "$.saved_recipes": "list", "$.saved_recipes[].created_at": "text",
            **{f"$.saved_recipes[].recipe.{name}": kind for name, kind in RECIPE.items()},
        },
    ),
    Call(
        "C5", "G", "ann", "GET", "/api/v1/recipes?limit=10&offset=0",
        reads={
            "$.recipes": "list", "$.recipes[].id": "text", "$.recipes[].title": "text",
            "$.recipes[].cuisine_type": "text?",
        },
    ),
    Call(
        "C6", "B", "ann", "GET", "/api/v1/recipes?limit=10&search=trending",
        reads={
            "$.recipes[].id": "text", "$.recipes[].title": "text",
            "$.recipes[].creator_name": "text?", "$.recipes[].view_count": "number",
            "$.recipes[].prep_time": "number?", "$.recipes[].is_trending": "flag",
            "$.recipes[].cuisine": "text?", "$.recipes[].difficulty": "text?",
        },
    ),
    Call(
        "C7", "B", "ann", "GET", "/api/v1/recipes?search={published}&limit=5",
        reads={"$.recipes[].title": "text", "$.recipes[].description": "text?"},
    ),
    # 5.4 Gamification
    Call(
        "D1", "B", "ann", "POST", "/api/v1/gamification/add-xp",
        {"xp_amount": 75, "action": "COMPLETE_RECIPE", "metadata": {}},
        reads={
            "$.new_total_xp": "number", "$.new_level": "number", "$.level_up": "flag",
            "$.xp_awarded": "number", "$.result[].new_total_xp": "number",
        },
    ),
    Call(
        "D2", "G", "ann", "GET",
        "/api/v1/gamification/leaderboard?limit=50&period=weekly&type=global",
        reads={
            "$.leaderboard": "list", "$.leaderboard[].rank": "number",
            "$.leaderboard[].xp_total": "number", "$.leaderboard[].xp_gained": "number",
            "$.leaderboard[].recipes_cooked": "number", "$.leaderboard[].users.id": "text",
            "$.leaderboard[].users.name": "text?", "$.leaderboard[].users.avatar_url": "text?",
            "$.leaderboard[].users.level": "number", "$.userRank": "number?",
        },
    ),
    # 5.5 Subscription and creator
    Call("E1", "G", "guest", "GET", "/api/v1/subscription/tiers", reads={"$.tiers": "list"}),
    Call(
        "E2", "G", "ann", "GET", "/api/v1/subscription/status",
        reads={"$.tier_slug": "text", "$.status": "text", "$.trial_ends_at": "text?"},
    ),
    Call(
        "E3", "G", "ann", "GET", "/api/v1/subscription/feature/daily_scans",
        reads={
            "$.hasAccess": "flag", "$.usage.limit": "number", "$.usage.count": "number",
            "$.usage.used": "number",
        },
    ),
    Call(
        "E3 without a limit", "G", "cora", "GET", "/api/v1/subscription/feature/creator_tools",
        reads={"$.hasAccess": "flag"},
    ),
    Call(
        "E4", "G", "cora", "GET", f"{CREATOR}/revenue",
        reads={
            "$.total_earnings": "number", "$.monthly_earnings": "number",
            "$.affiliate_earnings": "number", "$.tips_earnings": "number",
            "$.collections_earnings": "number", "$.unpaid_balance": "number",
            "$.active_referrals": "number", "$.revenue_breakdown.referrals_rate": "number",
            "$.revenue_breakdown.tips_rate": "number",
            "$.revenue_breakdown.collections_rate": "number",
        },
    ),
    Call(
        "F1", "G", "cora", "GET", f"{CREATOR}/analytics?period=month",
        reads={
            "$.referrals.active": "number", "$.referrals.total": "number",
            "$.stripeAccount.isConnected": "flag", "$.analytics": "object", "$.revenue": "object",
            "$.recipes": "list", "$.recentTips": "list",
        },
    ),
    *(
        Call(f"{row} as the app sends it", "S", "guest", method, path, body, REJECTED, (401,))
        for row, method, path, body in (
            ("F2", "GET", f"{CREATOR}/balance", None),
            ("F3", "POST", f"{STRIPE}/onboard", {"country": "US", "business_type": "individual"}),
            ("F4", "POST", f"{STRIPE}/account-link", {"account_id": "acct_1"}),
            ("F5", "GET", f"{STRIPE}/status", None),
            ("F6", "GET", f"{STRIPE}/dashboard", None),
        )
    ),
    Call(
        "F2", "S", "cora", "GET", f"{CREATOR}/balance",
        reads={
            "$.total_earnings": "number", "$.available_balance": "number",
            "$.pending_balance": "number", "$.last_payout_date": "text?",
            "$.next_payout_date": "text?",
        },
    ),
    Call(
        "F3", "S", "cora", "POST", f"{STRIPE}/onboard",
        {"country": "US", "business_type": "individual", "platform": "mobile"},
        reads={"$.accountId": "text", "$.onboardingUrl": "text"}, keep={"account": "$.accountId"},
    ),
    Call(
        "F4", "S", "cora", "POST", f"{STRIPE}/account-link",
        {
            "account_id": "{account}",
            "return_url": "cookcam://creator-kyc-complete",
            "refresh_url": "cookcam://creator-kyc-refresh",
        },
        reads={"$.url": "text", "$.expires_at": "anything"},
    ),
    Call(
        "F5", "S", "cora", "GET", f"{STRIPE}/status",
        reads={
            "$.hasAccount": "flag", "$.account.chargesEnabled": "flag",
            "$.account.payoutsEnabled": "flag", "$.account.detailsSubmitted": "flag",
            "$.account.status": "text", "$.account.stripe_account_id": "text",
        },
    ),
    # 5.6 Analytics
    Call(
        "H1", "G", "ann", "POST", "/api/v1/analytics/track",
        {"event_type": "screen_view", "event_data": {}, "metadata": {"platform": "mobile"}},
        status=(201,),
    ),
    Call(
        "H2", "G", "ann", "GET", "/api/v1/analytics/dashboard?period=week",
        reads={
            "$.totalUsers": "number", "$.activeUsers": "number", "$.totalScans": "number",
            "$.totalRecipes": "number", "$.revenue": "number", "$.growthRate": "number",
            "$.engagement.avgSessionDuration": "number", "$.engagement.avgScansPerUser": "number",
            "$.engagement.recipeConversionRate": "number", "$.charts.userGrowth": "list",
            "$.charts.scanActivity": "list", "$.charts.revenueGrowth": "list",
        },
    ),
    # 5.7 Health
    Call("health of G", "G", "guest", "GET", "/health", reads={"$.status": "text"}),
    Call("health of B", "B", "guest", "GET", "/api/v1/health", reads={"$.status": "text"}),
    # 7, 10 Purchases without a token, and what an old build thinks it may say of others
    Call(
        "purchase", "P", "guest", "POST", "/api/v1/iap/validate-receipt",
        {"platform": "ios", "productId": "com.cookcam.pro.monthly", "receipt": "cmVjZWlwdA=="},
        reads={**REJECTED, "$.success": "flag"}, status=(401,),
    ),
    Call(
        "lifecycle cancel", "L", "guest", "POST", "/api/v1/subscription/cancel",
        {"userId": "{cora}", "cancelReason": "price"}, reads=REJECTED, status=(401,),
    ),
    Call(
        "lifecycle reactivate", "L", "guest", "POST", "/api/v1/subscription/reactivate",
        {"userId": "{cora}", "offerCode": "BACK"}, reads=REJECTED, status=(401,),
    ),
    # 10 Mystery boxes, in both spellings
    Call(
        "box", "G", "ann", "POST", "/api/v1/mystery-box/open", {},
        reads={"$.box_available": "flag"},
    ),
    Call(
        "boxes", "G", "ann", "GET", "/api/v1/mystery-box/history",
        reads={"$.history": "list", "$.total_boxes_opened": "number"},
    ),
    Call(
        "Box", "B", "ann", "POST", "/api/v1/mysteryBox/open", {"user_id": "{ann}"},
        reads={"$.box_available": "flag"},
    ),
    Call(
        "Boxes", "B", "ann", "GET", "/api/v1/mysteryBox/history/{ann}?limit=20",
        reads={"$.history": "list", "$.total_boxes_opened": "number"},
    ),
    Call(
        "Box stats", "B", "ann", "GET", "/api/v1/mysteryBox/stats",
        reads={
            "$.total_boxes": "number", "$.rarity_distribution.common.count": "number",
            "$.rarity_distribution.common.percentage": "text",
            "$.reward_type_distribution": "object",
        },
    ),
    # 8.2 Clicks
    Call(
        "deep link", "D", "guest", "POST", f"{TRACK}/{{chef}}", CLICK,
        reads={"$.success": "flag", "$.message": "text"},
    ),
    Call(
        "/ref page", "W", "guest", "POST", f"{TRACK}/CC_UNKNOWN1",
        {"source": "web_landing", "user_agent": "m", "referrer": "", "timestamp": "t"},
        reads={"$.success": "flag", "$.message": "text"},
    ),
    Call(
        "/c page", "W", "guest", "POST", f"{TRACK}/creator-nobody",
        {"source": "creator_landing", "creator_slug": "nobody", "user_agent": "m"},
        reads={"$.success": "flag", "$.message": "text"},
    ),
    # 5.1.1, which ends Zoe's account
    Call(
        "A4", "G", "zoe", "DELETE", "/api/v1/auth/account",
        headers={"confirmPassword": "{password}"},
        reads={"$.message": "text", "$.deletedAt": "text"},
    ),
)  # fmt: skip


def found(body: Any, path: str) -> list[Any]:
    """Everything at a path such as `$.a[].b`. Raises KeyError where something is missing."""
    values = [body]
    for step in _steps(path):
        if step == "[]":
            values = [item for value in values for item in value]
        else:
            values = [value[step] for value in values]
    return values


def _steps(path: str) -> Iterator[str]:
    for part in path.removeprefix("$").split("."):
        name, _, rest = part.partition("[]")
        if name:
            yield name
        if part.endswith("[]") or rest:
            yield "[]"


def unlike(body: Any, reads: Mapping[str, Kind]) -> list[str]:
    """What is missing or of another type; a list without items has nothing to read in it."""
    wrong: list[str] = []
    for path, kind in reads.items():
        try:
            values = found(body, path)
        except (KeyError, TypeError, IndexError):
            wrong.append(f"{path} is missing")
            continue
        if not values:
            wrong.append(f"{path} has nothing in it")
        if kind == "anything":
            continue
        for value in values:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if kind.startswith("number") and isinstance(value, bool):
                wrong.append(f"{path} is a flag")
            elif not (number and kind == "number") and not isinstance(value, TYPES[kind]):
                wrong.append(f"{path} is {value!r:.60}, no {kind}")
    return wrong
