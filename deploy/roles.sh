#!/bin/sh
# Creates the owner of the tables, the application's role, and the database. The Postgres image runs this once, when it
# creates its data. On a server of your own, run it as a superuser:
#   sudo -u postgres REGISTRY_OWNER_PASSWORD=… REGISTRY_APP_PASSWORD=… sh deploy/roles.sh
# psql reads PGHOST and PGPORT. REGISTRY_DATABASE names the database (registry); the roles are called after it.
set -eu
database=${REGISTRY_DATABASE:-registry}
as_superuser() {
  psql --set=ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres --quiet "$@"
}
as_superuser --set=database="$database" --set=owner="${database}_owner" --set=app="${database}_app" \
  --set=owner_password="$REGISTRY_OWNER_PASSWORD" --set=app_password="$REGISTRY_APP_PASSWORD" <<'SQL'
CREATE ROLE :"owner" LOGIN PASSWORD :'owner_password';
CREATE ROLE :"app" LOGIN PASSWORD :'app_password';
CREATE DATABASE :"database" OWNER :"owner" ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"database" TO :"app";
SQL
# The role of standbys. pg_hba.conf of a server of your own is yours to change.
if [ -n "${REGISTRY_REPLICATION_PASSWORD:-}" ]; then
  as_superuser --set=password="$REGISTRY_REPLICATION_PASSWORD" <<'SQL'
CREATE ROLE registry_replication LOGIN REPLICATION PASSWORD :'password';
SQL
  [ -z "${PGDATA:-}" ] || echo 'host replication registry_replication all scram-sha-256' >>"$PGDATA/pg_hba.conf"
fi
