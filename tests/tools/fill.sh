#!/usr/bin/env bash
# Makes an installation, with its operator key and pepper in FOLDER, on the PostgreSQL of HERALD_TEST_POSTGRES_URL, and fills it
# with stored messages. What is there already stays: it goes on.
#
#   tests/tools/kept.sh ... tests/tools/fill.sh HERALD FILL_POSTGRES FOLDER MESSAGES
set -euo pipefail

herald=$1 fill=$2 folder=$3 messages=$4
mkdir -p "$folder"
if [[ ! -e "$folder/filled" ]]; then
    HERALD_STORE_URL=$HERALD_TEST_POSTGRES_URL HERALD_PEPPER_FILE=$folder/pepper \
        "$herald" init --if-needed --key-file "$folder/operator.key"
    "$fill" --url "$HERALD_TEST_POSTGRES_URL" --messages "$messages"
    touch "$folder/filled"
fi
