import { chown, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ServiceStartError } from '../errors.js'
import { postgresAnswers } from '../postgres/answers.js'
import type { PrepareContext } from '../prepare.js'
import { serverEnv } from '../process/server-env.js'
import { findServiceUser } from '../process/service-user.js'
import type { ServicePlan } from '../service-plan.js'
import { findPgbouncer } from './binary.js'
import { ADMIN_DATABASE, pgbouncerSettings } from './settings.js'
import { pooledUrl, upstreamOf } from './upstream.js'

/** Since this minor version SIGTERM waits for the clients to leave, and SIGQUIT is what SIGTERM was. */
const SIGTERM_WAITS = 23

export async function preparePgbouncer(context: PrepareContext): Promise<ServicePlan> {
  const { folder } = context
  const user = await findServiceUser()
  const { command, firstArgs, minor } = await findPgbouncer(context, user)
  const postgresUrl = await context.postgresUrl()
  const upstream = await upstreamOf(postgresUrl).catch((error: Error) => {
    const reason = `it cannot find the Postgres to stand in front of: ${error.message}`
    throw new ServiceStartError(context.spec.name, `${context.spec.name}: ${reason}`, { cause: error })
  })
  const file = join(folder, 'pgbouncer.ini')
  return {
    command,
    args: () => [...firstArgs, file],
    cwd: folder,
    env: serverEnv(),
    ...user,
    logFile: join(folder, 'log'),
    // Like Postgres's fast one, it does not wait for transactions to end.
    fastSignal: minor < SIGTERM_WAITS ? 'SIGTERM' : 'SIGQUIT',
    immediateSignal: 'SIGKILL',
    beforeStart: async (port) => {
      // There may be somebody's password in it.
      await writeFile(file, pgbouncerSettings(upstream, port, minor), { mode: 0o600 })
      if (user) await chown(file, user.uid, user.gid)
    },
    answers: (port) => postgresAnswers(port, ADMIN_DATABASE),
    url: (port) => pooledUrl(postgresUrl, port),
  }
}
