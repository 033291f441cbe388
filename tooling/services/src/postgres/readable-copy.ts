import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { ServiceStartError } from '../errors.js'
import { run } from '../process/run.js'
import type { OsUser } from '../process/service-user.js'
import type { PostgresBinaries } from './binaries.js'

/**
 * The folder of the binaries as the service user can use it. A checkout often lies in a home that only its owner
 * can enter (0700); then root's unprivileged user gets a copy in the servers' own folder.
 */
export async function readableBin(
  binaries: PostgresBinaries,
  user: OsUser | undefined,
  folder: string,
): Promise<string> {
  if (!user || !binaries.prefix) return binaries.bin
  if ((await run(join(binaries.bin, 'initdb'), ['--version'], { ...user, cwd: '/' })).ok) return binaries.bin
  const copy = join(folder, 'install')
  await cp(binaries.prefix, copy, { recursive: true, verbatimSymlinks: true })
  const opened = await run('chmod', ['-R', 'a+rX', copy])
  if (!opened.ok)
    throw new ServiceStartError('postgres', `cannot open the copy of Postgres in ${copy}: ${opened.output}`)
  return join(copy, 'bin')
}
