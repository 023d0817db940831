#!/bin/sh
# Asks an API for news, every PAUSE seconds. curl reads the header with the key from the file: the key is in no argument, where every user
# of the machine could see it, and in no variable.
while :; do
    status=$(curl -sS --max-time 10 -o /dev/null -w '%{http_code}' -H "@$API_HEADER" "$API_URL")
    if [ "$status" = 200 ]; then echo "ok"; else echo "failed: $status"; fi
    sleep "$PAUSE"
done
