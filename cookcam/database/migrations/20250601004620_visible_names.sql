-- The first name of an account comes from metadata that clients write at the identity provider, past
-- the server's own rule for names (cookcam/text.py): the same characters are removed here.
create or replace function public.initial_name(metadata jsonb, email text) returns text
language sql immutable set search_path = '' as $$
  select candidate
  from (values
    (1, pg_catalog.left(pg_catalog.btrim(pg_catalog.regexp_replace(
      pg_catalog.regexp_replace(
        metadata ->> 'name',
        '[\u00ad\u034f\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb]',
        '', 'g'
      ),
      '[\s\u0001-\u001f\u007f-\u009f\u115f\u1160\u2800\u3164\uffa0]+', ' ', 'g'
    )), 100)),
    (2, pg_catalog.left(pg_catalog.split_part(email, '@', 1), 100))
  ) as candidates(rank, candidate)
  where pg_catalog.char_length(
    pg_catalog.regexp_replace(candidate, '[\u180b-\u180f\u200c\u200d\ufe00-\ufe0f]', '', 'g')
  ) >= 2
  order by rank
  limit 1
$$;
