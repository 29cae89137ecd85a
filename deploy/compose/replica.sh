#!/bin/sh
# A standby of the compose file's Postgres: copies the primary into an empty volume, then follows it.
set -eu
# The official image starts as root.
if [ "$(id -u)" = 0 ]; then
  install -d -o postgres -g postgres -m 700 "${PGDATA%/*}" "$PGDATA.copy"
  exec gosu postgres sh "$0"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  # A copy gets its name when it is complete; what an interrupted one left is removed.
  rm -rf "$PGDATA.copy" && mkdir -m 700 "$PGDATA.copy"
  pg_basebackup --pgdata="$PGDATA.copy" --wal-method=stream --checkpoint=fast --write-recovery-conf \
    --dbname="host=postgres user=registry_replication password=$REGISTRY_REPLICATION_PASSWORD application_name=$HOSTNAME"
  mv "$PGDATA.copy" "$PGDATA"
fi
exec postgres -c listen_addresses='*' -c unix_socket_directories=/tmp
