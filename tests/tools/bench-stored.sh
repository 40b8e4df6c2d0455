#!/usr/bin/env bash
# Measures nodes on the PostgreSQL of HERALD_TEST_POSTGRES_URL, which it fills first with so many stored messages. The operator
# key and the pepper are in INSTALLATION. What is there already stays.
#
#   tests/tools/kept.sh ... tests/tools/bench-stored.sh INSTALLATION PROGRAMS MESSAGES [ARGUMENT...]
set -euo pipefail

installation=$1 programs=$2 messages=$3
shift 3
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$installation"
if [[ ! -e "$installation/filled" ]]; then
    HERALD_STORE_URL=$HERALD_TEST_POSTGRES_URL HERALD_PEPPER_FILE=$installation/pepper \
        "$programs/herald" init --if-needed --key-file "$installation/operator.key"
    "$programs/examples/fill_postgres" --url "$HERALD_TEST_POSTGRES_URL" --messages "$messages"
    touch "$installation/filled"
fi
exec "$here/../services/with-services.sh" "$here/bench-nodes.sh" "$programs/herald" \
    --bare-postgres "$programs/examples/bare_postgres" --installation "$installation" "$@"
