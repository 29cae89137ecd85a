#!/bin/sh
# The Postgres image runs this once, when it creates its data: the owner of the tables, the application's role, the
# database, and, if it has a password, the role of the standbys.
set -eu
psql --set=ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
  --set=owner_password="$REGISTRY_OWNER_PASSWORD" --set=app_password="$REGISTRY_APP_PASSWORD" <<'SQL'
CREATE ROLE registry_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE registry_app LOGIN PASSWORD :'app_password';
CREATE DATABASE registry OWNER registry_owner;
REVOKE ALL ON DATABASE registry FROM PUBLIC;
GRANT CONNECT ON DATABASE registry TO registry_app;
SQL
if [ -n "${REGISTRY_REPLICATION_PASSWORD:-}" ]; then
  psql --set=ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres --set=password="$REGISTRY_REPLICATION_PASSWORD" <<'SQL'
CREATE ROLE registry_replication LOGIN REPLICATION PASSWORD :'password';
SQL
  echo 'host replication registry_replication all scram-sha-256' >>"$PGDATA/pg_hba.conf"
fi
