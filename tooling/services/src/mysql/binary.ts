import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { cacheFolders, firstWritable } from '../cache-folders.js'
import { findMirror } from '../debian/mirror.js'
import { exists, unpack } from '../debian/unpack.js'
import { ServiceUnavailableError } from '../errors.js'
import type { PrepareContext } from '../prepare.js'
import { findExecutable, findExecutables } from '../process/find-executable.js'
import { run } from '../process/run.js'

const PACKAGE = 'mysql-server-core'
/** Debian's releases ship MariaDB only; MySQL itself is in its unstable suite. */
const SUITE = 'unstable'

/** A MySQL server: what to start, and the arguments that come before all others. */
export interface MysqlBinary {
  readonly command: string
  readonly firstArgs: readonly string[]
}

export async function findMysql(context: PrepareContext): Promise<MysqlBinary> {
  for (const command of await findExecutables('mysqld')) {
    // MariaDB calls itself mysqld, too.
    if (/MySQL/.test((await run(command, ['--no-defaults', '--version'])).output))
      return { command, firstArgs: ['--no-defaults'] }
  }
  return unpackedBinary(await findUnpacked(context))
}

/** The folder of an unpacked MySQL: one that is there already, or a new one. */
async function findUnpacked({ spec, log }: PrepareContext): Promise<string> {
  const name = `mysql-${process.arch}`
  const folders = cacheFolders()
  for (const folder of folders) {
    if (await exists(join(folder, name))) return join(folder, name)
  }
  const unavailable = (reason: string, cause?: unknown) =>
    new ServiceUnavailableError(
      spec.name,
      spec.env,
      `MySQL is not installed, and ${reason}. Install mysqld`,
      { cause },
    )
  if (!(await findExecutable('apt-get')) || !(await findExecutable('dpkg'))) {
    throw unavailable('only on Debian can it be unpacked without an installation')
  }
  const mirror = await findMirror()
  if (!mirror) throw unavailable("no Debian mirror is among this machine's apt sources")
  const cache = await firstWritable(folders)
  if (!cache) throw unavailable(`none of these can be written to: ${folders.join(', ')}`)
  const target = join(cache, name)
  log(`MySQL is not installed: Debian's ${PACKAGE} is unpacked into ${target}, once`)
  try {
    await unpack(PACKAGE, SUITE, mirror, target)
  } catch (error) {
    throw unavailable(`it could not be unpacked: ${(error as Error).message}\n`, error)
  }
  return target
}

/** It runs with the libraries and the loader that it was unpacked with: those of the machine are older. */
async function unpackedBinary(root: string): Promise<MysqlBinary> {
  const usr = join(root, 'usr')
  const triplet = (await readdir(join(usr, 'lib'))).find((name) => name.endsWith('-linux-gnu'))
  const libraries = join(usr, 'lib', triplet ?? '')
  const loader = (await readdir(libraries)).find((name) => name.startsWith('ld-linux'))
  if (!loader) throw new Error(`no loader in ${libraries}: remove ${root} to have it unpacked again`)
  return {
    command: join(libraries, loader),
    firstArgs: [
      '--library-path',
      libraries,
      join(usr, 'sbin', 'mysqld'),
      '--no-defaults',
      `--basedir=${usr}`,
      `--lc-messages-dir=${join(usr, 'share', 'mysql')}`,
    ],
  }
}
