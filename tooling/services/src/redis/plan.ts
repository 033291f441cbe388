import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { PrepareContext } from '../prepare.js'
import { serverEnv } from '../process/server-env.js'
import type { ServicePlan } from '../service-plan.js'
import { redisAnswers } from './answers.js'
import { findRedis } from './binary.js'

export async function prepareRedis(context: PrepareContext): Promise<ServicePlan> {
  const { folder, durable } = context
  const command = await findRedis(context)
  const data = join(folder, 'data')
  await mkdir(data)
  const settings = {
    bind: '127.0.0.1',
    dir: data,
    save: '',
    // The log of commands is what lets a killed server come back with its data.
    appendonly: 'yes',
    appendfsync: durable ? 'always' : 'no',
  }
  return {
    command,
    args: (port) => [
      ...Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]),
      '--port',
      String(port),
    ],
    cwd: data,
    env: serverEnv(),
    logFile: join(folder, 'log'),
    fastSignal: 'SIGTERM',
    immediateSignal: 'SIGKILL',
    answers: redisAnswers,
    url: (port) => `redis://127.0.0.1:${port}`,
  }
}
