import { join } from 'node:path'
import { readableCopy } from '../process/readable-copy.js'
import { run } from '../process/run.js'
import type { OsUser } from '../process/service-user.js'
import type { PostgresBinaries } from './binaries.js'

/** The folder of the binaries as the service user can use it. */
export async function readableBin(
  binaries: PostgresBinaries,
  user: OsUser | undefined,
  folder: string,
): Promise<string> {
  if (!user || !binaries.prefix) return binaries.bin
  if ((await run(join(binaries.bin, 'initdb'), ['--version'], { ...user, cwd: '/' })).ok) return binaries.bin
  return join(await readableCopy('postgres', binaries.prefix, join(folder, 'install')), 'bin')
}
