-- Search of the food catalogue that forgives typing mistakes, without any extension.
--
-- Names are found by word through the full-text index. What people mistype is corrected against the
-- words that the catalogue really has: some ten thousand words stand behind some hundred thousand
-- rows, so comparing trigrams of words is cheap where comparing trigrams of rows is not. The
-- trigrams, and the similarity made of them, are those of PostgreSQL's pg_trgm, with accents folded.

create function public.trigrams(value text) returns text[]
language sql immutable strict parallel safe set search_path = '' as $$
  select coalesce(array_agg(distinct trigram collate "C"), '{}')
  from (
    select substr(padded, at, 3) as trigram
    from (
      select '  ' || replace(
        trim(regexp_replace(
          translate(
            lower(value),
            'àáâãäåçèéêëìíîïñòóôõöøùúûüýÿ', 'aaaaaaceeeeiiiinoooooouuuuyy'
          ),
          '[^[:alnum:]]+', ' ', 'g'
        )),
        ' ', '  '
      ) || ' ' as padded
    ) as words,
    generate_series(1, length(padded) - 2) as at
  ) as windows
  where trigram not like '_  '
$$;

-- 0 for nothing in common, 1 for the same words in any order.
create function public.trigram_similarity(mine text[], theirs text[]) returns real
language sql immutable strict parallel safe set search_path = '' as $$
  select coalesce(
    (shared::real / nullif(cardinality(mine) + cardinality(theirs) - shared, 0))::real, 0::real
  )
  from (
    select count(*)::integer as shared
    from unnest(mine) as trigram
    where trigram collate "C" = any (theirs)
  ) as common
$$;

revoke execute on function public.trigrams(text), public.trigram_similarity(text[], text[])
  from public, anon, authenticated;
grant execute on function public.trigrams(text), public.trigram_similarity(text[], text[])
  to service_role;

create table public.ingredient_words (
  word text collate "C" primary key,
  trigrams text[] collate "C" not null generated always as (public.trigrams(word)) stored
);

create index ingredient_words_by_trigram on public.ingredient_words using gin (trigrams);

alter table public.ingredient_words enable row level security;
revoke all on table public.ingredient_words from anon, authenticated;
grant all on table public.ingredient_words to service_role;

-- The words of new and changed rows; a word that no row has any more does no harm. Sorted, so that
-- two writers who bring the same words never wait for each other in a circle.
create function public.collect_ingredient_words() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into public.ingredient_words (word)
  select distinct found.word collate "C"
  from written, unnest(tsvector_to_array(written.search_tsv)) as found (word)
  where length(found.word) between 2 and 40
    and found.word ~ '[[:alpha:]]'
    and not exists (
      select from public.ingredient_words known where known.word = found.word collate "C"
    )
  order by 1
  on conflict do nothing;
  return null;
end
$$;

revoke execute on function public.collect_ingredient_words() from public, anon, authenticated;

create trigger ingredient_words_of_inserted after insert on public.ingredients
  referencing new table as written
  for each statement execute function public.collect_ingredient_words();
create trigger ingredient_words_of_updated after update on public.ingredients
  referencing new table as written
  for each statement execute function public.collect_ingredient_words();

insert into public.ingredient_words (word)
select distinct found.word collate "C"
from public.ingredients i, unnest(tsvector_to_array(i.search_tsv)) as found (word)
where length(found.word) between 2 and 40 and found.word ~ '[[:alpha:]]'
on conflict do nothing;

-- Nutrition is looked up in generic foods first, which are few beside the branded ones.
create index ingredients_generic_search on public.ingredients using gin (search_tsv)
  where usda_data_type is distinct from 'Branded';

-- Where `cookcam usda import` gathers a bundle before it writes the catalogue. Unlogged, all three:
-- a crash of PostgreSQL empties them together, and the import begins anew.
create schema usda_import;
revoke all on schema usda_import from public;
grant usage on schema usda_import to service_role;

create unlogged table usda_import.progress (
  bundle text primary key,
  files jsonb not null default '{}'
);

create unlogged table usda_import.foods (
  fdc_id integer primary key,
  name text not null,
  category text,
  data_type text not null,
  extra text
);

-- One row per food, whose parts may stand far from each other in a file. Columns are nutrient ids.
create unlogged table usda_import.amounts (
  fdc_id integer primary key,
  n1003 double precision,
  n1004 double precision,
  n1005 double precision,
  n1008 double precision,
  n1063 double precision,
  n1079 double precision,
  n1087 double precision,
  n1089 double precision,
  n1092 double precision,
  n1093 double precision,
  n1106 double precision,
  n1114 double precision,
  n1162 double precision,
  n1253 double precision,
  n1257 double precision,
  n1258 double precision,
  n2000 double precision,
  n2047 double precision,
  n2048 double precision
);

grant all on all tables in schema usda_import to service_role;
