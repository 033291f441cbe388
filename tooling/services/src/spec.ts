import { UnknownServiceError } from './errors.js'

export type Kind = 'postgres' | 'pgbouncer' | 'mariadb' | 'mysql' | 'redis'

/** What the caller asked for, e.g. `postgres@14`, and the variable that carries its URL. */
export interface ServiceSpec {
  readonly name: string
  readonly kind: Kind
  readonly version: string | undefined
  readonly env: string
}

const KINDS: readonly Kind[] = ['postgres', 'pgbouncer', 'mariadb', 'mysql', 'redis']

/**
 * The first of a kind gets the kind's own variable, so that `postgres@14` alone is what HOLDFAST_POSTGRES_URL
 * names; a second version beside it gets its version's: HOLDFAST_POSTGRES_18_URL.
 */
export function parseSpecs(names: readonly string[]): ServiceSpec[] {
  const specs: ServiceSpec[] = []
  for (const name of new Set(names)) {
    const { kind, version } = parseName(name)
    const base = `HOLDFAST_${kind.toUpperCase()}`
    const plain = `${base}_URL`
    const env = specs.some((spec) => spec.env === plain) ? `${base}_${version ?? 'DEFAULT'}_URL` : plain
    specs.push({ name, kind, version, env })
  }
  return specs
}

function parseName(name: string): { kind: Kind; version: string | undefined } {
  const [word = '', version, ...rest] = name.split('@')
  const kind = KINDS.find((known) => known === word)
  const versioned = kind === 'postgres' && version !== undefined && /^\d+$/.test(version)
  if (!kind || rest.length > 0 || (version !== undefined && !versioned)) {
    throw new UnknownServiceError(
      name,
      `no such service: '${name}'. Known are ${KINDS.join(', ')}, and Postgres by its major version: postgres@14.`,
    )
  }
  return { kind, version }
}
