-- Whether a session id that a client sends is somebody else's: looked up without knowing whose.

create index cooking_sessions_by_session on public.cooking_sessions (session_id);
