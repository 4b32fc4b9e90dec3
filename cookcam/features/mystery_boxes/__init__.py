"""Mystery boxes: what a scan may earn by luck (`spec/http-api-core.md` §11)."""
