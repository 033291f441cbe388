import { join } from 'node:path'
import {
  type DebianProgram,
  findUnpacked,
  type Invocation,
  unpackedInvocation,
} from '../debian/unpacked-program.js'
import { ServiceStartError } from '../errors.js'
import type { PrepareContext } from '../prepare.js'
import { findExecutable } from '../process/find-executable.js'
import { readableCopy } from '../process/readable-copy.js'
import { run } from '../process/run.js'
import type { OsUser } from '../process/service-user.js'

/**
 * Unpacked for root, too: to install it is to start a PgBouncer for the whole machine, and Debian has no package
 * with the program alone.
 */
const PGBOUNCER: DebianProgram = {
  title: 'PgBouncer',
  package: 'pgbouncer',
  suite: 'stable',
  path: 'usr/sbin/pgbouncer',
}

export interface Pgbouncer extends Invocation {
  /** The minor version: its major has been 1 since 2007. */
  readonly minor: number
}

export async function findPgbouncer(context: PrepareContext, user: OsUser | undefined): Promise<Pgbouncer> {
  const { spec } = context
  const installed = await findExecutable('pgbouncer')
  const invocation = installed ? { command: installed, firstArgs: [] } : await unpacked(context, user)
  const { output } = await askVersion(invocation, user)
  const minor = output.match(/^PgBouncer 1\.(\d+)/m)?.[1]
  if (!minor) throw new ServiceStartError(spec.name, `${spec.name} does not tell its version:\n${output}`)
  return { ...invocation, minor: Number(minor) }
}

async function unpacked(context: PrepareContext, user: OsUser | undefined): Promise<Invocation> {
  return readableInvocation(await findUnpacked(PGBOUNCER, context), user, context.folder)
}

/** The unpacked program as the service user can use it. */
export async function readableInvocation(
  root: string,
  user: OsUser | undefined,
  folder: string,
): Promise<Invocation> {
  const invocation = await unpackedInvocation(root, PGBOUNCER)
  if (!user || (await askVersion(invocation, user)).ok) return invocation
  return unpackedInvocation(await readableCopy('pgbouncer', root, join(folder, 'install')), PGBOUNCER)
}

function askVersion({ command, firstArgs }: Invocation, user: OsUser | undefined) {
  return run(command, [...firstArgs, '--version'], { ...user, cwd: '/' })
}
