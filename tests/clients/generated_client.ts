// A client generated from the OpenAPI document. It reads the product's results by their declared
// types: no cast, no `any`. tests/contract/test_generated_client.py compiles and runs it.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema";

const [, , baseUrl = "", token = "", photo = ""] = process.argv;
const api = createClient<paths, "application/json">({
  baseUrl: `${baseUrl}/api/v1`,
  headers: { Authorization: `Bearer ${token}` },
});

type ApiError = components["schemas"]["Error"];

function present<T>(what: string, value: T | undefined, error?: ApiError): T {
  if (error !== undefined) throw new Error(`${what}: ${error.code} ${error.message}`);
  if (value === undefined) throw new Error(`${what} is missing`);
  return value;
}

// These routes answer 200 with an event stream to clients that accept one, and 201 with JSON.
function created<T extends { data: unknown }>(value: T | { "text/event-stream": string }): T["data"] {
  if (!("data" in value)) throw new Error("an event stream, which was not asked for");
  return value.data;
}

async function main(): Promise<void> {
  const lines: string[] = [];
  const show = (line: string): number => lines.push(line);

  const scan = await api.POST("/scan/analyze", { body: { image_data: photo } });
  for (const ingredient of present("scan", scan.data, scan.error).ingredients) {
    show(`scanned ${ingredient.name.toUpperCase()} ${ingredient.confidence.toFixed(2)}`);
  }

  const detectedIngredients = ["chicken", "rice", "tomato"];
  const suggested = await api.POST("/recipes/suggestions", { body: { detectedIngredients } });
  for (const idea of present("suggestions", suggested.data, suggested.error).suggestions) {
    show(`suggested ${idea.title.trim()} ${idea.totalTimeMinutes.toFixed()}`);
  }

  const generated = await api.POST("/recipes/generate", { body: { ingredients: detectedIngredients } });
  const menu = created(present("recipes", generated.data, generated.error));
  for (const recipe of menu.recipes) {
    const first = present("step", recipe.instructions[0]);
    show(`generated ${recipe.title.trim()}: ${first.step}. ${first.instruction.trim()}`);
    show(`kcal ${recipe.nutrition.calories.toFixed()} in ${recipe.metadata.totalTime.toFixed()} min`);
  }
  show(`groups ${menu.ingredientAnalysis.compatibilityGroups.flat().join(",")}`);

  const previews = await api.POST("/recipes/generate-previews", {
    body: { detectedIngredients, userPreferences: { servingSize: 2 } },
  });
  const step1 = created(present("previews", previews.data, previews.error));
  const selectedPreview = present("preview", step1.previews[0]);
  show(`preview ${selectedPreview.title.trim()} ${selectedPreview.appealFactors.join(",")}`);

  const detailed = await api.POST("/recipes/generate-detailed", {
    body: { selectedPreview, sessionId: step1.sessionId },
  });
  const step2 = created(present("detailed", detailed.data, detailed.error));
  for (const step of step2.recipe.instructions) show(`detailed ${step.instruction.trim()}`);
  for (const part of step2.recipe.ingredients) show(`part ${part.amount ?? ""} ${part.name ?? ""}`);

  const recipe_id = step2.stored_recipe.id;
  const stored = await api.GET("/recipes/{recipe_id}", { params: { path: { recipe_id } } });
  for (const part of present("recipe", stored.data, stored.error).data.ingredients) {
    show(`stored ${typeof part === "string" ? part : (part.name ?? "")}`);
  }

  const varied = await api.POST("/recipes/{recipe_id}/variations", {
    params: { path: { recipe_id } },
    body: { count: 1 },
  });
  for (const variation of present("variations", varied.data, varied.error).data.variations) {
    show(`variation ${variation.title.trim()} ${variation.tips.length.toFixed()}`);
  }

  const nutrition = await api.GET("/recipes/{recipe_id}/nutrition", { params: { path: { recipe_id } } });
  const amounts = present("nutrition", nutrition.data, nutrition.error).data;
  show(`nutrition ${amounts.per_serving.calories.toFixed()} ${amounts.nutrition.breakdown.length}`);

  const history = await api.GET("/scan/history");
  for (const past of present("history", history.data, history.error).scans) {
    show(`past ${past.detected_ingredients.map((one) => one.name).join(",")}`);
  }

  const missing = await api.POST("/recipes", { body: { title: "no" } });
  const code = present("error", missing.error).code;
  // @ts-expect-error Only documented codes can be compared.
  if (code === "NO_SUCH_CODE") throw new Error("impossible");
  show(`refused ${code}`);

  console.log(lines.join("\n"));
}

await main();
