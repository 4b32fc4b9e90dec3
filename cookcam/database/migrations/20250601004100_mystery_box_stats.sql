-- The statistics of mystery boxes are over the newest of everybody.

create index mystery_boxes_by_time on public.mystery_boxes (opened_at desc);
