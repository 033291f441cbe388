import type { Upstream } from './upstream.js'

/** Since this minor version it can keep track of prepared statements, which older ones cannot. */
const TRACKS_PREPARED_STATEMENTS = 21

/** PgBouncer's own database, which answers whether or not Postgres does. */
export const ADMIN_DATABASE = 'pgbouncer'

/** The text of pgbouncer.ini. */
export function pgbouncerSettings(upstream: Upstream, port: number, minor: number): string {
  const settings = {
    listen_addr: '127.0.0.1',
    listen_port: port,
    unix_socket_dir: '',
    // Whatever name a client gives, it is the user of the entry below.
    auth_type: 'any',
    pool_mode: 'transaction',
    max_client_conn: 2000,
    default_pool_size: 20,
    ignore_startup_parameters: 'extra_float_digits,options',
    // The harder case, and what many production servers still have.
    ...(minor >= TRACKS_PREPARED_STATEMENTS ? { max_prepared_statements: 0 } : {}),
    server_tls_sslmode: 'prefer',
    // Connections to a database that a test is about to drop are in its way.
    server_idle_timeout: 2,
    // How soon it tries again after a Postgres that was down: by default a test would wait 15 seconds.
    server_login_retry: 1,
    // How long a query waits for a Postgres that is down before it fails: two minutes by default.
    query_wait_timeout: 3,
    // Thousands of clients come and go.
    log_connections: 0,
    log_disconnections: 0,
    log_stats: 0,
  }
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}`)
  return ['[databases]', `* = ${connectString(upstream)}`, '[pgbouncer]', ...lines, ''].join('\n')
}

function connectString(upstream: Upstream): string {
  return Object.entries(upstream)
    .filter(([, value]) => value !== '')
    .map(([name, value]) => `${name}='${value.replaceAll("'", "''")}'`)
    .join(' ')
}
