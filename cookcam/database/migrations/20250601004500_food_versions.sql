-- Which version of a branded food the catalogue has. USDA gives every version of a product an fdc_id
-- of its own; what stays the same is its GTIN, here without leading zeros.
alter table usda_import.foods
  add column gtin text,
  add column published date not null default '-infinity',
  add column modified date not null default '-infinity';

create index foods_by_gtin on usda_import.foods (gtin) where gtin is not null;

-- Logged, unlike the other tables of the import: it belongs to the rows in the catalogue.
create table usda_import.versions (
  gtin text primary key,
  fdc_id integer not null,
  name text not null,
  published date not null,
  modified date not null
);

grant all on table usda_import.versions to service_role;
