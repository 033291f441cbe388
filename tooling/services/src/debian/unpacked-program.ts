import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { cacheFolders, firstWritable } from '../cache-folders.js'
import { ServiceUnavailableError } from '../errors.js'
import type { PrepareContext } from '../prepare.js'
import { findExecutable } from '../process/find-executable.js'
import { findMirror } from './mirror.js'
import { exists, unpack } from './unpack.js'

/** A program that is taken out of a package of Debian's, without an installation. */
export interface DebianProgram {
  readonly title: string
  readonly package: string
  readonly suite: string
  /** Where it is in the package. */
  readonly path: string
}

/** What to start, and the arguments that come before all others. */
export interface Invocation {
  readonly command: string
  readonly firstArgs: readonly string[]
}

/** The folder that the package is unpacked in: one that is there already, or a new one. */
export async function findUnpacked(program: DebianProgram, context: PrepareContext): Promise<string> {
  const { spec, log } = context
  const { title, package: packageName, suite } = program
  const name = `${spec.kind}-${process.arch}`
  const folders = cacheFolders()
  for (const folder of folders) {
    if (await exists(join(folder, name))) return join(folder, name)
  }
  const unavailable = (reason: string, cause?: unknown) =>
    new ServiceUnavailableError(
      spec.name,
      spec.env,
      `${title} is not installed, and ${reason}. Install ${program.path.split('/').at(-1)}`,
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
  log(`${title} is not installed: Debian's ${packageName} is unpacked into ${target}, once`)
  try {
    await unpack(packageName, suite, mirror, target)
  } catch (error) {
    throw unavailable(`it could not be unpacked: ${(error as Error).message}\n`, error)
  }
  return target
}

/** It runs with the libraries and the loader that it was unpacked with: those of the machine may be older. */
export async function unpackedInvocation(root: string, program: DebianProgram): Promise<Invocation> {
  const lib = join(root, 'usr', 'lib')
  const triplet = (await readdir(lib)).find((name) => name.endsWith('-linux-gnu'))
  const libraries = join(lib, triplet ?? '')
  const loader = (await readdir(libraries)).find((name) => name.startsWith('ld-linux'))
  if (!loader) throw new Error(`no loader in ${libraries}: remove ${root} to have it unpacked again`)
  return {
    command: join(libraries, loader),
    firstArgs: ['--library-path', libraries, join(root, program.path)],
  }
}
