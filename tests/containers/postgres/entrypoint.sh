#!/bin/sh
# What the tests use of the official image's entrypoint: POSTGRES_USER, _PASSWORD, _DB and _INITDB_ARGS, and the scripts in
# /docker-entrypoint-initdb.d, which run while the server listens on its socket only.
set -eu
export POSTGRES_USER="${POSTGRES_USER:-postgres}"
database="${POSTGRES_DB:-$POSTGRES_USER}"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  printf '%s' "$POSTGRES_PASSWORD" >/tmp/password
  # shellcheck disable=SC2086 # the arguments are several words
  initdb --username="$POSTGRES_USER" --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 ${POSTGRES_INITDB_ARGS:-}
  rm /tmp/password
  echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
  pg_ctl --wait --options='-c listen_addresses= -c unix_socket_directories=/tmp' start
  [ "$database" = postgres ] || createdb --username="$POSTGRES_USER" "$database"
  for script in /docker-entrypoint-initdb.d/*.sh; do
    [ ! -e "$script" ] || sh "$script"
  done
  pg_ctl --wait --mode=fast stop
fi
[ "${1:-}" != postgres ] || shift
exec postgres -c listen_addresses='*' -c unix_socket_directories=/tmp "$@"
