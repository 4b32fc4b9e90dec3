"""Every route of the API as a table: its success response and its errors.

`{name}` in a path or a body is a value of the fixtures or of an earlier response; a bar before a
key stands for the root of the response.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from attrs import field, frozen

from tests.contract.app_calls import PHOTO, PREFERENCES

Who = Literal["guest", "ann", "bob", "admin"]
NONE, OPTIONAL, REQUIRED, ADMIN = "none", "optional", "required", "admin"
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@frozen
class Rejection:
    """An error of a row: its status and literal, and the request that causes it."""

    status: int
    error: str
    body: Any = None
    path: str | None = None
    who: Who | None = None
    code: str | None = None
    extra: tuple[str, ...] = ()


@frozen
class Row:
    """`keys` are at the root of the success, or deeper with dots; `value` of some must be so.

    `flagged` is the dialect of its errors. `alias` says that `/api` has it as well.
    """

    number: int
    method: str
    path: str
    auth: str
    keys: tuple[str, ...]
    body: Any = None
    status: int = 200
    who: Who = "ann"
    values: Mapping[str, Any] = field(factory=dict)
    keep: Mapping[str, str] = field(factory=dict)
    flagged: bool = False
    rejections: tuple[Rejection, ...] = ()
    alias: bool = True


PROFILE = (
    "id", "email", "name", "avatar_url", "level", "xp", "total_xp", "streak_current",
    "streak_shields", "is_creator", "creator_tier", "default_serving_size", "meal_prep_enabled",
    "default_meal_prep_count", "kitchen_appliances", "dietary_preferences", "cuisine_preferences",
    "cooking_skill_level", "created_at",
)  # fmt: skip
RECIPE = (
    "id", "title", "description", "prep_time", "cook_time", "difficulty", "servings",
    "ingredients", "instructions", "nutrition", "tags", "cuisine", "created_by", "is_generated",
    "is_published", "view_count", "rating_avg", "rating_count", "trending_score", "is_featured",
    "created_at",
)  # fmt: skip
FOODS = ["chicken", "rice", "tomato"]
IDEAS = {"detectedIngredients": FOODS}
LOGIN = {"email": "{email}", "password": "{password}"}
DEVICE = {"token": "0a" * 32, "platform": "ios"}


def under(prefix: str, keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{prefix}.{key}" for key in keys)


NO_RECIPE = "Recipe not found"

ROWS: tuple[Row, ...] = (
    Row(
        1, "POST", "/auth/signup", NONE,
        ("user.id", "user.email", "token", "refreshToken", "session.access_token", "message"),
        {"email": "{new_email}", "password": "{password}", "name": "Eve"}, 201,
        rejections=(
            Rejection(400, "Email, password, and name are required", {"email": "a@b.c"}),
            Rejection(400, "Invalid email format",
                    {"email": "a", "password": "{password}", "name": "Eve"}),
            Rejection(400, "Password must be at least 8 characters long",
                    {"email": "{new_email}", "password": "short", "name": "Eve"}),
            Rejection(400, "Name must be at least 2 characters",
                    {"email": "{new_email}", "password": "{password}", "name": "E"}),
            Rejection(400, "Failed to create user",
                    {"email": "{email}", "password": "{password}", "name": "Eve"},
                    code="SIGNUP_ERROR"),
        ),
    ),
    Row(
        2, "POST", "/auth/login", NONE,
        ("user.id", "token", "refreshToken", "session.refresh_token", "session.expires_in",
         "message"),
        LOGIN, keep={"refresh": "refreshToken", "session_token": "token"},
        rejections=(
            Rejection(400, "Email and password are required", {"email": "a@b.c"}),
            Rejection(401, "Invalid email or password", {**LOGIN, "password": "wrong"},
                    code="INVALID_CREDENTIALS"),
        ),
    ),
    Row(
        4, "POST", "/auth/refresh", NONE,
        ("token", "refreshToken", "access_token", "refresh_token", "expires_in", "user.id"),
        {"refresh_token": "{refresh}"},
        rejections=(
            Rejection(400, "Refresh token is required", {}),
            Rejection(401, "Invalid refresh token", {"refreshToken": "no"}),
        ),
    ),
    Row(3, "POST", "/auth/logout", REQUIRED, ("message",), {}, who="bob"),
    Row(5, "GET", "/auth/me", REQUIRED, under("user", PROFILE)),
    Row(
        7, "PUT", "/auth/profile", REQUIRED, ("user.name", "message"), {"name": "Ann B"},
        values={"user.name": "Ann B"},
        rejections=(
            Rejection(400, "No fields to update", {}),
            Rejection(403, "Creator access required", {"is_creator": True}, extra=("upgradeUrl",)),
        ),
    ),
    Row(
        8, "DELETE", "/auth/account", REQUIRED, ("message", "deletedAt"),
        {"confirmPassword": "{password}"}, who="bob",
        rejections=(
            Rejection(400, "Password confirmation is required", {}),
            Rejection(401, "Invalid password", {"confirmPassword": "wrong"}),
        ),
    ),
    Row(
        9, "POST", "/auth/link-referral", REQUIRED, ("success", "message"),
        {"referralCode": "{chef}"},
        rejections=(
            Rejection(400, "Referral code is required", {}),
            Rejection(400, "Invalid referral code", {"referralCode": "CC_UNKNOWN0"}),
        ),
    ),
    Row(10, "GET", "/users/profile", REQUIRED, PROFILE),
    Row(
        11, "PUT", "/users/profile", REQUIRED, PROFILE, {"onboarding_completed": True},
        rejections=(Rejection(400, "No fields to update", {}),),
    ),
    Row(
        12, "GET", "/users/{ann}", NONE,
        ("user.id", "user.name", "user.avatar_url", "user.level", "user.total_xp",
         "user.is_creator", "user.creator_tier", "user.created_at"),
        rejections=(
            Rejection(404, "User not found", path=f"/users/{UNKNOWN}"),
            Rejection(404, "User not found", path="/users/preferences"),
        ),
    ),
    Row(13, "GET", "/users?search=Ann&limit=5", NONE,
        ("users.0.id", "users.0.name", "users.0.total_xp"),
        rejections=(Rejection(400, "Invalid limit parameter (1-100)", path="/users?limit=abc"),)),
    Row(
        14, "POST", "/users/{admin}/follow", REQUIRED, ("message", "following"),
        values={"following": True},
        rejections=(
            Rejection(400, "Cannot follow yourself", path="/users/{ann}/follow"),
            Rejection(404, "User not found", path=f"/users/{UNKNOWN}/follow"),
        ),
    ),
    Row(15, "GET", "/users/{admin}/followers", NONE,
        ("followers.0.created_at", "followers.0.follower.id", "total")),
    Row(16, "GET", "/users/{ann}/following", NONE,
        ("following.0.created_at", "following.0.following.id", "total")),
    Row(
        17, "GET", "/ingredients/search?q={food}", NONE,
        ("success", "data.source", "data.results.0.id", "data.total"), flagged=True,
        values={"data.source": "local"},
        rejections=(
            Rejection(400, "Query parameter (q or query) is required", path="/ingredients/search"),
        ),
    ),
    Row(
        18, "GET", "/ingredients/usda/search?query=cheddar", NONE,
        ("success", "data.totalHits", "data.currentPage", "data.totalPages", "data.foods"),
        flagged=True,
        rejections=(
            Rejection(400, "Query parameter (q or query) is required",
                    path="/ingredients/usda/search"),
        ),
    ),
    Row(
        19, "POST", "/ingredients/{ingredient}/sync-usda", ADMIN,
        ("success", "data.ingredient.id", "data.usda_match.fdcId", "data.usda_match.description",
         "data.usda_match.dataType", "data.nutrition"),
        {}, who="admin", flagged=True,
        rejections=(
            Rejection(404, "Ingredient not found", path="/ingredients/2147483647/sync-usda"),
            Rejection(404, "No USDA data found for this ingredient",
                    path="/ingredients/{nonsense}/sync-usda"),
        ),
    ),
    Row(
        20, "GET", "/ingredients?limit=1", NONE,
        ("success", "data.ingredients.0.id", "data.pagination.page", "data.pagination.limit",
         "data.pagination.total", "data.pagination.totalPages"),
        flagged=True,
        rejections=(Rejection(400, "Invalid page parameter", path="/ingredients?page=0"),),
    ),
    Row(
        21, "GET", "/ingredients/{ingredient}", NONE,
        ("success", "data.id", "data.name", "data.calories_per_100g"), flagged=True,
        rejections=(Rejection(404, "Ingredient not found", path="/ingredients/soup"),),
    ),
    Row(
        22, "POST", "/recipes/suggestions", REQUIRED,
        ("session_id", "suggestions.0.title", "suggestions.2.oneSentenceTeaser", "message"),
        IDEAS, values={"xp_awarded": 20}, keep={"ideas": "session_id"},
        rejections=(Rejection(400, "Detected ingredients array is required", {}),),
    ),
    Row(
        23, "POST", "/recipes/generate-full", REQUIRED,
        ("recipe_id", "full_recipe.steps.0.instruction", "stored_recipe.id", "message"),
        {"selectedTitle": "Chicken and Rice", "sessionId": "{ideas}"},
        values={"xp_awarded": 100},
        rejections=(
            Rejection(400, "Selected recipe title is required", {}),
            Rejection(400, "Either sessionId or originalInput is required",
                    {"selectedTitle": "Soup"}),
            Rejection(404, "Recipe session not found",
                    {"selectedTitle": "Soup", "sessionId": UNKNOWN}),
        ),
    ),
    Row(
        24, "POST", "/recipes/generate", REQUIRED,
        ("success", "message", "data.recipes.2.title", "data.storedRecipes.2.id",
         "data.ingredientAnalysis.totalScanned", "data.ingredientAnalysis.compatibilityGroups",
         "data.ingredientAnalysis.pantryStaplesUsed"),
        {"ingredients": FOODS}, 201, flagged=True,
        rejections=(
            Rejection(
                400,
                    'Ingredients list is required (as "ingredients" or "detectedIngredients")',
                    {}),
        ),
    ),
    Row(
        25, "POST", "/recipes/generate-previews", REQUIRED,
        ("success", "message", "data.sessionId", "data.previews.0.appealFactors",
         "data.storedPreviews.0.preview_id"),
        {**IDEAS, "userPreferences": PREFERENCES}, 201, flagged=True, values={"xp_awarded": 15},
        keep={"session": "data.sessionId", "preview": "data.previews.0"},
        rejections=(
            Rejection(400, "Detected ingredients array is required", {"userPreferences": {}}),
            Rejection(400, "User preferences are required", IDEAS),
        ),
    ),
    Row(
        26, "POST", "/recipes/generate-detailed", REQUIRED,
        ("success", "message", "data.recipe.instructions.0.instruction", "data.stored_recipe.id"),
        {"selectedPreview": "{preview}", "sessionId": "{session}"}, 201, flagged=True,
        values={"xp_awarded": 50, "data.session_completed": True},
        rejections=(
            Rejection(400, "Selected preview recipe is required", {"sessionId": "{session}"}),
            Rejection(400, "Session ID is required", {"selectedPreview": "{preview}"}),
            Rejection(404, "Cooking session not found",
                    {"selectedPreview": "{preview}", "sessionId": "no"}, extra=("details",)),
        ),
    ),
    Row(
        27, "POST", "/recipes/generate-full-with-smart-nutrition", REQUIRED,
        ("success", "recipe.id", "recipe.smartNutrition.perServing.calories",
         "recipe.nutritionComparison.ai_estimate.calories",
         "recipe.nutritionComparison.database_calculated.sodium_mg"),
        {"selectedTitle": "Chicken and Rice", "sessionId": "{ideas}"},
        rejections=(
            Rejection(400, "Session ID is required", {"selectedTitle": "Soup"}),
            Rejection(400, "Selected recipe title is required", {"sessionId": "{ideas}"}),
            Rejection(404, "Recipe session not found",
                    {"selectedTitle": "Soup", "sessionId": UNKNOWN}),
        ),
    ),
    Row(
        28, "POST", "/recipes/{recipe}/variations", REQUIRED,
        ("success", "data.original.id", "data.variations.1.title", "message"), {"count": 2},
        flagged=True,
        rejections=(
            Rejection(404, NO_RECIPE, {}, path=f"/recipes/{UNKNOWN}/variations"),
            Rejection(404, NO_RECIPE, {}, who="admin"),
        ),
    ),
    Row(
        29, "GET", "/recipes?limit=5", OPTIONAL,
        ("success", "data.recipes.0.recipe_ingredients", "data.pagination.totalPages",
         *under("data.recipes.0", RECIPE)),
        flagged=True,
        rejections=(
            Rejection(400, "Invalid limit parameter (1-100)", path="/recipes?limit=0"),
            Rejection(400, "Invalid page parameter", path="/recipes?page=0"),
            Rejection(400, "Invalid offset parameter", path="/recipes?offset=-1"),
        ),
    ),
    Row(
        30, "GET", "/recipes/{recipe}", OPTIONAL,
        ("success", "data.recipe_ingredients", "data.is_favorited", *under("data", RECIPE)),
        flagged=True,
        rejections=(
            Rejection(404, NO_RECIPE, path="/recipes/soup"),
            Rejection(404, NO_RECIPE, path=f"/recipes/{UNKNOWN}"),
        ),
    ),
    Row(
        31, "GET", "/recipes/{recipe}/nutrition?servings=2", NONE,
        ("success", "data.recipe_id", "data.recipe_name", "data.servings",
         "data.nutrition.totals.sodium_mg", "data.nutrition.breakdown",
         "data.per_serving.calories"),
        flagged=True, values={"data.servings": 2},
        rejections=(Rejection(404, NO_RECIPE, path="/recipes/soup/nutrition"),),
    ),
    Row(
        32, "POST", "/recipes/{recipe}/save-nutrition", REQUIRED,
        ("success", "data.recipe_id", "data.total_calories", "data.sodium_mg_per_serving"),
        {"servings": 2}, flagged=True,
        rejections=(Rejection(404, NO_RECIPE, {}, who="admin"),),
    ),
    Row(
        33, "POST", "/recipes/calculate-smart-nutrition", NONE,
        ("success", "data.nutrition.totalNutrition.calories",
         "data.nutrition.ingredientBreakdown", "data.nutrition.unmatchedIngredients",
         "data.quality.totalIngredients", "data.quality.matchRate"),
        {"ingredients": [{"item": "butter", "quantity": "10 g"}]}, flagged=True,
        rejections=(
            Rejection(400, "Ingredients array is required", {}),
            Rejection(400, "Ingredients array is required", {"ingredients": []}),
        ),
    ),
    Row(
        34, "POST", "/recipes/{recipe}/save", REQUIRED, ("message", "saved"),
        values={"saved": True},
        rejections=(Rejection(404, NO_RECIPE, path="/recipes/soup/save"),),
    ),
    Row(
        35, "POST", "/recipes/{recipe}/favorite", REQUIRED, ("success", "message", "favorited"),
        {"favorited": True}, values={"favorited": True},
        rejections=(Rejection(404, NO_RECIPE, path="/recipes/soup/favorite"),),
    ),
    Row(
        36, "GET", "/recipes/saved/my", REQUIRED,
        ("saved_recipes.0.created_at", "saved_recipes.0.recipe.creator.level",
         *under("saved_recipes.0.recipe", RECIPE)),
        rejections=(
            Rejection(400, "Invalid limit parameter (1-100)", path="/recipes/saved/my?limit=101"),
            Rejection(400, "Invalid offset parameter", path="/recipes/saved/my?offset=x"),
        ),
    ),
    Row(
        37, "POST", "/recipes/{recipe}/rate", REQUIRED, ("message",), {"rating": 4}, who="admin",
        rejections=(
            Rejection(400, "Rating must be between 1 and 5", {"rating": 6}),
            Rejection(400, "Rating must be between 1 and 5", {}),
            Rejection(404, NO_RECIPE, {"rating": 4}, path="/recipes/soup/rate"),
        ),
    ),
    Row(
        38, "POST", "/recipes/{recipe}/upload-completion-photo", REQUIRED,
        ("photo.id", "photo.recipe_id", "photo.user_id", "photo.photo_url", "photo.uploaded_at",
         "message"),
        {"imageData": PHOTO, "description": "Mine"},
        rejections=(
            Rejection(400, "Image data is required", {}),
            Rejection(404, NO_RECIPE, {"imageData": PHOTO},
                    path=f"/recipes/{UNKNOWN}/upload-completion-photo"),
        ),
    ),
    Row(
        39, "GET", "/recipes/{recipe}/completion-photos", NONE,
        ("photos.0.photo_url", "photos.0.user.name", "photos.0.uploaded_at", "total"),
        rejections=(Rejection(404, NO_RECIPE, path="/recipes/soup/completion-photos"),),
    ),
    Row(
        40, "POST", "/scan/ingredients", REQUIRED,
        ("scan_id", "ingredients.0.name", "confidence_score"), {"image_data": PHOTO},
        values={"xp_awarded": 10}, keep={"scan": "scan_id"},
        rejections=(
            Rejection(400, "No image file provided", {}, extra=("details",)),
            Rejection(422, "Failed to analyze image", {"image_data": "AAAA"}, extra=("details",)),
        ),
    ),
    Row(
        41, "POST", "/scan/analyze", OPTIONAL,
        ("success", "ingredients.0.category", "confidence_score", "xp_awarded"),
        {"image_data": PHOTO}, values={"user_authenticated": True}, flagged=True,
        rejections=(
            Rejection(400, "No image data provided", {}, extra=("details",)),
            Rejection(400, "Detected ingredients must be an array",
                    {"image_data": PHOTO, "detected_ingredients": "rice"}),
            Rejection(422, "Failed to analyze image", {"image_data": "AAAA"}, extra=("details",)),
        ),
    ),
    Row(42, "GET", "/scan/history", REQUIRED,
        ("scans.0.id", "scans.0.user_id", "scans.0.detected_ingredients", "scans.0.image_url",
         "scans.0.confidence_score", "scans.0.scan_metadata", "scans.0.created_at")),
    Row(
        43, "GET", "/scan/{scan}", REQUIRED, ("scan.id", "scan.detected_ingredients.0.name"),
        rejections=(
            Rejection(404, "Scan not found", path="/scan/soup"),
            Rejection(404, "Scan not found", who="admin"),
        ),
    ),
    Row(
        44, "PUT", "/scan/{scan}/ingredients", REQUIRED,
        ("scan.scan_metadata.original_ingredients", "scan.updated_at", "message"),
        {"ingredients": [{"name": "Rice"}]}, values={"scan.detected_ingredients.0.name": "rice"},
        rejections=(
            Rejection(400, "Valid ingredients array is required", {}),
            Rejection(404, "Scan not found or update failed", {"ingredients": []},
                    path="/scan/soup/ingredients"),
        ),
    ),
    Row(
        45, "POST", "/mysteryBox/open", REQUIRED, ("box_available",), {"user_id": "{ann}"},
        rejections=(
            Rejection(403, "Access denied", {"user_id": UNKNOWN}, code="AUTHORIZATION_ERROR"),
        ),
    ),
    Row(
        46, "GET", "/mysteryBox/history/{ann}", REQUIRED, ("history", "total_boxes_opened"),
        rejections=(
            Rejection(403, "Access denied", path=f"/mysteryBox/history/{UNKNOWN}"),
            Rejection(403, "Access denied", who="admin"),
            Rejection(400, "Invalid limit parameter (1-100)",
                    path="/mysteryBox/history/{ann}?limit=0"),
        ),
    ),
    Row(
        47, "GET", "/mysteryBox/stats", REQUIRED,
        ("total_boxes", "rarity_distribution.common.count",
         "rarity_distribution.uncommon.percentage", "rarity_distribution.rare.count",
         "rarity_distribution.legendary.percentage", "reward_type_distribution"),
    ),
    Row(58, "GET", "/health", NONE, ("status", "timestamp", "environment", "version"),
        alias=False),
    Row(58, "GET", "/health/live", NONE, ("alive",), values={"alive": True}, alias=False),
    Row(58, "GET", "/health/ready", NONE, ("ready",), values={"ready": True}, alias=False),
    Row(58, "GET", "/health/db", NONE, ("status",), values={"status": "up"}, alias=False),
    Row(58, "GET", "/health/cache", NONE, ("status",), values={"status": "up"}, alias=False),
    Row(58, "GET", "/health/detailed", NONE,
        ("status", "uptime", "services.database", "services.cache", "circuits.openai", "system"),
        alias=False),
    Row(48, "POST", "/analytics/track", REQUIRED, ("success", "message", "event_id"),
        {"event_type": "screen_view", "event_data": {"screen": "home"}}, 201,
        values={"level_up": False}, alias=False,
        rejections=(
            Rejection(400, "Event type is required", {}),
            Rejection(400, "VALIDATION_ERROR", {"event_type": "a b"}),
        )),
    Row(49, "GET", "/analytics/dashboard?timeframe=30d", REQUIRED,
        (*under("data.summary", ("total_events", "unique_event_types", "date_range.start")),
         "data.event_counts", "data.timeline", "data.hourly_distribution.23",
         "data.recent_events"),
        values={"success": True, "data.summary.timeframe": "30d"}, alias=False),
    Row(50, "GET", "/analytics/global", ADMIN,
        ("success", *under("data.summary", ("active_users", "new_users", "avg_events_per_user")),
         "data.activity_distribution.scans", "data.top_actions"),
        values={"data.summary.timeframe": "7d"}, who="admin", alias=False),
    Row(58, "GET", "/health/metrics", NONE, ("apiMetrics.0.total_requests", "slowQueries"),
        alias=False),
    Row(58, "GET", "/health/security", NONE,
        ("events.last_24h.auth_failures", "blocked_ips", "failed_login_attempts"), alias=False),
    Row(53, "GET", "/backup/list", ADMIN, ("backups", "count"), who="admin", alias=False),
    Row(55, "GET", "/backup/config", ADMIN,
        ("enabled", "frequency", "retention", "tables.0", "incremental"), who="admin", alias=False),
    Row(56, "PUT", "/backup/config", ADMIN, ("message", "config.enabled"), {"retention": 30},
        who="admin", alias=False,
        rejections=(Rejection(400, "VALIDATION_ERROR", {"retention": 0}, who="admin"),)),
    Row(57, "POST", "/backup/test", ADMIN, ("success", "message", "checks.2.message"), {}, 500,
        who="admin", alias=False),
)  # fmt: skip

ALSO: tuple[Row, ...] = (
    # Routes that clients call, beside those of the API's overview
    Row(2, "POST", "/auth/signin", NONE, ("token", "session.access_token"), LOGIN),
    Row(3, "POST", "/auth/signout", REQUIRED, ("message",), {}),
    Row(34, "DELETE", "/recipes/{recipe}/save", REQUIRED, ("message",), values={"saved": False}),
    Row(35, "DELETE", "/recipes/{recipe}/favorite", REQUIRED, ("success",),
        values={"favorited": False}),
    Row(14, "DELETE", "/users/{admin}/follow", REQUIRED, ("message",),
        values={"following": False}),
    Row(2, "POST", "/auth/forgot-password", NONE, ("success", "message"), {"email": "{email}"},
        flagged=True, rejections=(
            Rejection(400, "Email is required", {}),
            Rejection(400, "Invalid email format", {"email": "a"}),
        )),
    Row(10, "POST", "/users/devices", REQUIRED, ("success", "message"), DEVICE, flagged=True,
        values={"success": True}),
    Row(10, "DELETE", "/users/devices", REQUIRED, ("success", "message"), DEVICE, flagged=True,
        values={"success": True}),
    Row(
        10, "GET", "/notifications?limit=1", REQUIRED, ("notifications.0.title", "next_cursor"),
        alias=False, keep={"notification": "notifications.0.id"},
        rejections=(
            Rejection(400, "Invalid limit parameter (1-100)", path="/notifications?limit=101"),
            Rejection(400, "VALIDATION_ERROR", path="/notifications?cursor=x"),
        ),
    ),
    Row(10, "GET", "/notifications/unread-count", REQUIRED, ("unread",), alias=False),
    Row(10, "POST", "/notifications/{notification}/read", REQUIRED, ("success",), alias=False,
        values={"changed": 1},
        rejections=(Rejection(404, "Notification not found", path="/notifications/soup/read"),)),
    Row(10, "DELETE", "/notifications/{notification}", REQUIRED, ("success",), alias=False,
        values={"changed": 1},
        rejections=(Rejection(404, "Notification not found", path=f"/notifications/{UNKNOWN}"),)),
    Row(10, "POST", "/notifications/read-all", REQUIRED, ("success", "changed"), alias=False),
    Row(10, "DELETE", "/notifications", REQUIRED, ("success", "changed"), alias=False),
    Row(
        12, "POST", "/users/{admin}/block", REQUIRED, ("success",), alias=False,
        values={"blocked": True},
        rejections=(
            Rejection(400, "Cannot block yourself", path="/users/{ann}/block"),
            Rejection(404, "User not found", path="/users/soup/block"),
        ),
    ),
    Row(12, "GET", "/users/blocked", REQUIRED, ("blocked.0.name", "next_cursor"), alias=False,
        rejections=(Rejection(400, "VALIDATION_ERROR", path="/users/blocked?cursor=x"),)),
    Row(12, "DELETE", "/users/{admin}/block", REQUIRED, ("success",), alias=False,
        values={"blocked": False}),
    Row(
        12, "POST", "/reports", REQUIRED, ("success", "report_id"),
        {"target_type": "user", "target_id": "{admin}", "reason": "spam"}, status=201,
        alias=False, keep={"report": "report_id"},
        rejections=(
            Rejection(400, "VALIDATION_ERROR", {"target_type": "soup"}),
            Rejection(400, "VALIDATION_ERROR",
                    {"target_type": "user", "target_id": "{ann}", "reason": "spam"}),
            Rejection(404, "NOT_FOUND",
                    {"target_type": "user", "target_id": "soup", "reason": "spam"}),
        ),
    ),
    Row(12, "GET", "/moderation/reports", ADMIN, ("reports.0.reason", "next_cursor"), who="admin",
        alias=False),
    Row(
        12, "POST", "/moderation/reports/{report}/decision", ADMIN, ("success",),
        {"decision": "dismiss"}, who="admin", alias=False,
        values={"status": "dismissed", "closed": 1},
        rejections=(
            Rejection(400, "VALIDATION_ERROR", {"decision": "soup"}, who="admin"),
            Rejection(404, "Report not found", {"decision": "dismiss"},
                    path="/moderation/reports/soup/decision",
                    who="admin"),
        ),
    ),
    Row(21, "GET", "/ingredients/categories", NONE, ("success", "data")),
    Row(21, "GET", "/ingredients/meta/categories", NONE, ("success", "data")),
    Row(
        37, "GET", "/recipes/{recipe}/reviews", OPTIONAL, ("reviews", "next_cursor"),
        rejections=(
            Rejection(404, NO_RECIPE, path="/recipes/soup/reviews"),
            Rejection(404, NO_RECIPE, path=f"/recipes/{UNKNOWN}/reviews"),
            Rejection(400, "Invalid limit parameter (1-100)",
                    path="/recipes/{recipe}/reviews?limit=0"),
            Rejection(400, "VALIDATION_ERROR", path="/recipes/{recipe}/reviews?cursor=x"),
        ),
    ),
    Row(
        16, "GET", "/feed?limit=1", REQUIRED, ("shares", "next_cursor"), alias=False,
        rejections=(
            Rejection(400, "Invalid limit parameter (1-100)", path="/feed?limit=101"),
            Rejection(400, "VALIDATION_ERROR", path="/feed?cursor=x"),
        ),
    ),
    Row(
        16, "GET", "/feed/{share}/comments", REQUIRED, ("comments.0.comment", "next_cursor"),
        alias=False,
        rejections=(Rejection(404, "NOT_FOUND", path="/feed/soup/comments"),),
    ),
    Row(16, "GET", "/cooking-sessions", REQUIRED, ("sessions", "next_cursor"), alias=False,
        rejections=(Rejection(400, "VALIDATION_ERROR", path="/cooking-sessions?cursor=x"),)),
    Row(16, "GET", "/cooking-sessions/mine", REQUIRED, ("sessions.0.id", "next_cursor"),
        alias=False),
    Row(
        16, "GET", "/cooking-sessions/{live}/messages", REQUIRED,
        ("messages.0.message", "next_cursor"), alias=False,
        rejections=(
            Rejection(404, "Cooking session not found", path="/cooking-sessions/soup/messages"),
            Rejection(404, "Cooking session not found", who="admin"),
            Rejection(400, "VALIDATION_ERROR", path="/cooking-sessions/{live}/messages?cursor=x"),
        ),
    ),
    Row(30, "DELETE", "/recipes/{recipe}", REQUIRED, ("success", "message"), flagged=True,
        rejections=(Rejection(404, NO_RECIPE, path="/recipes/{recipe}", who="admin"),)),
    Row(45, "POST", "/mystery-box/open", REQUIRED, ("box_available",), {},
        rejections=(Rejection(403, "Access denied", {"user_id": UNKNOWN}),)),
    Row(46, "GET", "/mystery-box/history", REQUIRED, ("history", "total_boxes_opened")),
    Row(46, "GET", "/mysteryBox/history", REQUIRED, ("history", "total_boxes_opened")),
    Row(46, "GET", "/mystery-box/history/{ann}", REQUIRED, ("history",),
        rejections=(Rejection(403, "Access denied", who="admin"),)),
    Row(47, "GET", "/mystery-box/stats", REQUIRED, ("total_boxes", "rarity_distribution.rare")),
    # XP and streaks, which the overview does not number
    Row(
        0, "POST", "/gamification/add-xp", REQUIRED,
        ("success", "result.0.new_total_xp", "new_level", "level_up", "capped"),
        {"xp_amount": 900, "action": "COMPLETE_RECIPE", "metadata": {}},
        values={"xp_awarded": 75},
        rejections=(
            Rejection(400, "XP amount and action are required", {"action": "COMPLETE_RECIPE"}),
            Rejection(400, "XP amount and action are required", {"xp_amount": 5}),
            Rejection(400, "Unknown action", {"xp_amount": 5, "action": "INVENTED"}),
        ),
    ),
    Row(0, "GET", "/gamification/progress", REQUIRED,
        ("user_stats.total_xp", "user_stats.streak_shields", "recent_progress.action",
         "achievements")),
    Row(0, "GET", "/gamification/achievements", REQUIRED,
        ("achievements.25.unlocked", "total", "unlocked"), values={"total": 26}),
    Row(0, "GET", "/gamification/leaderboard?period=daily&type=global&limit=5", OPTIONAL,
        ("leaderboard.0.users.name", "leaderboard.0.recipes_cooked", "leaderboard.0.movement",
         "userRank", "metadata.type", "metadata.period", "metadata.updated_at"),
        rejections=(
            Rejection(400, "Invalid period", path="/gamification/leaderboard?period=hourly"),
            Rejection(400, "Invalid type", path="/gamification/leaderboard?type=enemies"),
            Rejection(400, "Invalid limit parameter (1-100)",
                    path="/gamification/leaderboard?limit=abc"),
            Rejection(401, "Authentication required", who="guest",
                    path="/gamification/leaderboard?type=friends"),
        )),
    *(
        Row(0, "GET", f"/gamification/{path}", REQUIRED,
            ("rank", "total_users", "user_xp", "period_xp"),
            rejections=(
                Rejection(400, "Invalid period", path="/gamification/rank?period=hourly"),
                Rejection(404, "User not found", path="/gamification/rank/soup"),
                Rejection(404, "User not found", path=f"/gamification/rank/{UNKNOWN}"),
            ))
        for path in ("rank", "rank/{ann}?period=allTime")
    ),
    Row(0, "POST", "/gamification/check-streak", REQUIRED,
        ("success", "streak_data.last_check_in"), {}, values={"streak_data.current_streak": 0}),
    Row(0, "POST", "/gamification/streak/cook", REQUIRED,
        ("success", "xp_awarded", "new_total_xp"), {}, values={"streak_data.current_streak": 1}),
    Row(0, "POST", "/gamification/streak/freeze", REQUIRED, ("success",), {"date": "2026-01-31"},
        values={"success": False},
        rejections=(Rejection(400, "VALIDATION_ERROR", {"date": "soon"}),)),
    Row(0, "GET", "/gamification/streak", REQUIRED,
        ("streak_data.current_streak", "from", "to", "days.0.date"),
        rejections=(
            Rejection(400, "VALIDATION_ERROR",
                    path="/gamification/streak?from=2026-02-02&to=2026-02-01"),
        )),
    Row(0, "GET", "/analytics/business", ADMIN,
        tuple(f"data.{name}" for name in (
            "active_users.0.monthly", "retention.0.day_30", "trial_conversion", "churn.0.lost",
            "recurring_revenue")),
        who="admin", alias=False),
)  # fmt: skip

UPLOADS = (6,)
"""Rows whose body is a file: the test makes it."""

BACKUPS = (51, 52, 54)
"""Rows that need a backup: tests/features/operations/test_backups.py makes one."""

NEVER = (
    ("GET", "/scan/test-vision"),
    ("POST", "/recipes/test-suggestions"),
    ("POST", "/recipes/test-full-recipe"),
    ("POST", "/recipes/test-nutrition"),
    ("POST", "/recipes/test-smart-nutrition"),
    ("GET", "/debug/env"),
    ("GET", "/gamification/debug-xp"),
    ("POST", "/gamification/test-award-xp"),
    ("GET", "/users/preferences"),
    ("GET", "/users/subscription"),
    ("POST", "/users/link-referral"),
)
"""Routes that must be 404; the last three have nothing to measure (docs/http.md)."""
