// Express with pg, jsonwebtoken and Socket.IO: three routes of the product and its live channel.
//
// Settings are those of reading.py. With `--dependencies`, also imports the libraries that a Node
// server with the product's features needs; without, what the three routes need.

import { createPublicKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

import express from "express";
import jwt from "jsonwebtoken";
import pg from "pg";
import { Server } from "socket.io";

if (process.argv.includes("--dependencies")) {
  await Promise.all(
    [
      "@sentry/node",
      "@supabase/supabase-js",
      "cors",
      "express-rate-limit",
      "google-auth-library",
      "helmet",
      "multer",
      "openai",
      "prom-client",
      "redis",
      "stripe",
      "winston",
      "zod",
    ].map((name) => import(name)),
  );
}

const sql = (name) => readFileSync(new URL(`../${name}.sql`, import.meta.url), "utf8");
const PROFILE = sql("profile");
const RECIPES = sql("recipes");
const keys = new Map(
  JSON.parse(process.env.TWIN_JWKS).keys.map((jwk) => [
    jwk.kid,
    createPublicKey({ key: jwk, format: "jwk" }),
  ]),
);
pg.types.setTypeParser(pg.types.builtins.INT8, Number);
const pool = new pg.Pool({ connectionString: process.env.TWIN_DATABASE, min: 10, max: 10 });

const verified = (token) => {
  const { header } = jwt.decode(token, { complete: true }) ?? {};
  const key = keys.get(header?.kid);
  if (key === undefined) throw new Error("unknown key");
  return jwt.verify(token, key, { algorithms: ["ES256"], audience: "authenticated" });
};

function signedIn(request, response, next) {
  const [scheme, token] = (request.headers.authorization ?? "").split(" ");
  try {
    if (scheme.toLowerCase() !== "bearer") throw new Error("no token");
    request.claims = verified(token);
  } catch {
    response.sendStatus(401);
    return;
  }
  next();
}

/** The rows of a statement that runs in the caller's name: one message, as the product sends it. */
async function read(claims, role, statement) {
  const actor = pg.escapeLiteral(JSON.stringify({ ...claims, role }));
  const results = await pool.query(
    `select set_config('role', '${role}', true), set_config('request.jwt.claims', ${actor}, true),
     set_config('statement_timeout', '30000', true),
     set_config('transaction_read_only', 'on', true);\n${statement}`,
  );
  return results[1].rows;
}

function recipe(row, claims) {
  const times = [row.prep_time, row.cook_time].filter((minutes) => minutes !== null);
  const author = row.created_by;
  return {
    id: row.id,
    title: row.title,
    description: row.description,
    cuisine: row.cuisine,
    cuisine_type: row.cuisine,
    image_url: row.image_url,
    prep_time: row.prep_time,
    prep_time_minutes: row.prep_time,
    cook_time: row.cook_time,
    cook_time_minutes: row.cook_time,
    total_time_minutes: times.length ? times.reduce((sum, minutes) => sum + minutes) : null,
    difficulty: row.difficulty,
    servings: row.servings,
    ingredients: row.ingredients,
    instructions: row.ai_metadata?.steps ?? row.instructions,
    tags: row.tags,
    nutrition: row.nutrition,
    nutrition_info: row.nutrition,
    created_by: author,
    creator: author && {
      id: author,
      name: row.creator_name,
      avatar_url: row.creator_avatar_url,
      level: row.creator_level,
    },
    creator_name: row.creator_name,
    is_generated: row.is_generated,
    is_published: row.is_published,
    is_featured: row.is_featured,
    is_trending: row.trending_score > 50,
    view_count: row.view_count,
    saves_count: row.saves_count,
    rating_avg: row.rating_avg,
    rating_count: row.rating_count,
    trending_score: row.trending_score,
    created_at: row.created_at,
    updated_at: row.updated_at,
    recipe_ingredients: row.recipe_ingredients,
    is_favorited: row.is_favorited,
    ...(author === claims.sub ? { ai_metadata: row.ai_metadata } : {}),
  };
}

const app = express();
app.get("/health", (_request, response) => {
  response.json({ status: "healthy" });
});
app.get("/api/v1/users/profile", signedIn, async (request, response) => {
  const [row] = await read(request.claims, "service_role", PROFILE);
  response.json(row);
});
app.get("/api/v1/recipes", signedIn, async (request, response) => {
  const rows = await read(request.claims, "authenticated", RECIPES);
  const recipes = rows.map((row) => recipe(row, request.claims));
  const total = rows[0]?.total ?? 0;
  const pagination = { page: 1, limit: 20, total, totalPages: Math.ceil(total / 20) };
  response.json({ success: true, data: { recipes, pagination }, recipes, pagination });
});

const http = createServer(app);
new Server(http, { perMessageDeflate: false });
http.listen(Number(process.env.PORT), "127.0.0.1");
