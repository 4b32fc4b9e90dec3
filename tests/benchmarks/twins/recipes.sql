select
  r.id, r.title, r.description, r.cuisine, r.image_url, r.prep_time, r.cook_time, r.difficulty,
  r.servings, r.ingredients, r.instructions, r.tags, r.nutrition, r.ai_metadata, r.created_by,
  r.is_generated, r.is_published, r.is_featured, r.view_count, r.saves_count,
  r.rating_avg::float8 as rating_avg, r.rating_count, r.trending_score::float8 as trending_score,
  r.created_at, r.updated_at,
  u.name as creator_name, u.avatar_url as creator_avatar_url, u.level as creator_level,
  exists (
    select from public.saved_recipes s
    where s.recipe_id = r.id and s.user_id = (select auth.uid())
  ) as is_favorited,
  (select count(*)::integer from public.recipes) as total,
  coalesce(
    (
      select json_agg(
        json_build_object(
          'id', ri.id, 'quantity', ri.quantity, 'unit', ri.unit, 'preparation', ri.preparation,
          'ingredient', case when i.id is not null then json_build_object(
            'id', i.id, 'name', i.name, 'category', i.category,
            'calories_per_100g', i.calories_per_100g, 'protein_g_per_100g', i.protein_g_per_100g,
            'carbs_g_per_100g', i.carbs_g_per_100g, 'fat_g_per_100g', i.fat_g_per_100g,
            'fiber_g_per_100g', i.fiber_g_per_100g, 'sodium_mg_per_100g', i.sodium_mg_per_100g
          ) end
        ) order by ri.order_index, ri.id
      )
      from public.recipe_ingredients ri
      left join public.ingredients i on i.id = ri.ingredient_id
      where ri.recipe_id = r.id
    ),
    '[]'
  ) as recipe_ingredients
from public.recipes r
left join public.users u on u.id = r.created_by
order by r.created_at desc, r.id
limit 20
