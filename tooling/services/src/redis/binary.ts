import { symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { installOnDebian } from '../debian/install.js'
import { ServiceUnavailableError } from '../errors.js'
import type { PrepareContext } from '../prepare.js'
import { findExecutable } from '../process/find-executable.js'
import { run } from '../process/run.js'

/**
 * Debian's redis-server package starts a server for the whole machine when it is installed. The program itself is
 * in redis-tools, under the name of redis-check-rdb: the same binary, which goes by the name it is called with.
 */
export async function findRedis(context: PrepareContext): Promise<string> {
  const { spec, log } = context
  const found = (await findExecutable('redis-server')) ?? (await renamed(context.folder))
  if (found) return found
  const problem = await installOnDebian('Redis', ['redis-tools'], log)
  const installed = problem ? undefined : await renamed(context.folder)
  if (installed) return installed
  throw new ServiceUnavailableError(
    spec.name,
    spec.env,
    `Redis is not installed, ${problem ?? 'and redis-tools did not bring it'}. Install redis-server`,
  )
}

async function renamed(folder: string): Promise<string | undefined> {
  const original = await findExecutable('redis-check-rdb')
  if (!original) return undefined
  const link = join(folder, 'redis-server')
  await symlink(original, link)
  return (await run(link, ['--version'])).output.startsWith('Redis server') ? link : undefined
}
