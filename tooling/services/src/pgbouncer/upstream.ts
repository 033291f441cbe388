import { lookup } from 'node:dns/promises'
import { userInfo } from 'node:os'
import { DEFAULT_MAJOR } from '../postgres/binaries.js'
import { parseSpecs, type ServiceSpec } from '../spec.js'

/** The Postgres that PgBouncer stands in front of. */
export interface Upstream {
  readonly host: string
  readonly port: string
  readonly user: string
  readonly password: string
}

/** A PgBouncer that we start needs a Postgres: without one among the services, the default one comes, too. */
export function withPostgres(
  specs: readonly ServiceSpec[],
  given: (spec: ServiceSpec) => string | undefined,
): readonly ServiceSpec[] {
  const ours = specs.some((spec) => spec.kind === 'pgbouncer' && !given(spec))
  return ours && !newestPostgres(specs) ? [...specs, ...parseSpecs(['postgres'])] : specs
}

export function newestPostgres(specs: readonly ServiceSpec[]): ServiceSpec | undefined {
  const major = (spec: ServiceSpec) => Number(spec.version ?? DEFAULT_MAJOR)
  return specs.filter((spec) => spec.kind === 'postgres').sort((a, b) => major(b) - major(a))[0]
}

export async function upstreamOf(url: string): Promise<Upstream> {
  const { hostname, port, username, password, searchParams } = new URL(url)
  return {
    host: searchParams.get('host') || (await addressOf(decodeURIComponent(hostname))),
    port: port || '5432',
    user: decodeURIComponent(username) || userInfo().username,
    password: decodeURIComponent(password),
  }
}

/** By the machine's own resolver: PgBouncer's own can wait for the network even for what /etc/hosts knows. */
async function addressOf(hostname: string): Promise<string> {
  // An IPv6 address is in brackets in a URL only.
  const name = hostname.replace(/^\[(.*)\]$/, '$1') || '127.0.0.1'
  return (await lookup(name, { order: 'ipv4first' })).address
}

/** The same user, password and database, by way of PgBouncer. */
export function pooledUrl(url: string, port: number): string {
  const { username, password, pathname } = new URL(url)
  const login = password ? `${username}:${password}` : username
  return `postgres://${login}${login && '@'}127.0.0.1:${port}${pathname}`
}
