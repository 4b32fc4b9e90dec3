#!/bin/sh
# Installs a lock file (or, with --project, a link to this project) into .venv, and shows progress.
#
# uv installs several times faster than pip; where it cannot be had or fails, pip does the work.
# Both verify the hashes of the lock file.
set -eu
python=.venv/bin/python
uv=.venv/bin/uv

if [ "$1" = --project ]; then
	echo "linking the project ..."
	if [ -x "$uv" ] && "$uv" pip install --quiet --python "$python" --no-deps --no-build-isolation --editable .; then
		exit 0
	fi
	exec "$python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
fi

echo "installing $(grep -c '^[a-z]' "$1") packages of $1 ..."
if [ ! -x "$uv" ]; then
	"$python" -m pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements/uv.lock >/dev/null 2>&1 || echo "uv cannot be installed here: pip takes about a minute"
fi
if [ -x "$uv" ] && "$uv" pip install --python "$python" --require-hashes --requirement "$1"; then
	exit 0
fi
# pip's own progress bar shows only downloads, so its list of packages is the progress.
exec "$python" -m pip install --disable-pip-version-check --require-hashes -r "$1"
