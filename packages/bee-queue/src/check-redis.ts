import { setTimeout as delay } from 'node:timers/promises'
import { ConfigError } from '@holdfast/core'
import type { BeeQueueInternals } from './bee-queue.js'
import { prefixProblem } from './client-prefix.js'
import { type RedisLink, runScript } from './redis-link.js'
import { PROBE } from './scripts/probe.js'

/** Milliseconds that Redis has to answer, and between tries. */
const PATIENCE = 10_000
const RETRY = 250

/** Answers that stay the same: a right that is missing, a command that is not there. */
const FOR_GOOD = /^(ERR|NOPERM)/

/**
 * Asks Redis whether our scripts may run there, and find the queue's keys as they are named: what a client does to keys
 * is certain only there.
 *
 * @throws ConfigError when the queue's client changes keys, or answers with Buffers
 * @throws Error when bee-queue has given up on Redis, as it does for good when it can't be reached at first; when Redis
 * does not answer in time, or refuses a script
 */
export async function checkRedis(queue: BeeQueueInternals, link: RedisLink): Promise<void> {
  const { keyPrefix } = queue.settings
  const over = new AbortController()
  let failure = new Error(`no answer within ${PATIENCE / 1_000} s`)
  const silent = delay(PATIENCE, undefined, { signal: over.signal }).then(() => Promise.reject(failure))
  const probe = async (): Promise<unknown[]> => {
    await queue.ready()
    for (;;) {
      try {
        const clients = [link.run(PROBE, keyPrefix), runScript(queue.client, PROBE, keyPrefix, [keyPrefix])]
        return await Promise.all(clients)
      } catch (error) {
        failure = error as Error
        if (over.signal.aborted || FOR_GOOD.test(failure.message)) throw error
        await delay(RETRY)
      }
    }
  }
  let arrived: readonly unknown[]
  try {
    arrived = await Promise.race([probe(), silent])
  } catch (cause) {
    const { message } = cause as Error
    const name = JSON.stringify(queue.name)
    throw FOR_GOOD.test(message)
      ? new Error(`Queue ${name} can't work on its Redis, which refuses a script: ${message}`, { cause })
      : new Error(`Queue ${name} can't reach Redis: ${message}. Start again when it is there.`, { cause })
  } finally {
    over.abort()
  }
  if (arrived.some((prefix) => typeof prefix !== 'string')) {
    const name = JSON.stringify(queue.name)
    throw new ConfigError(
      `The Redis client of queue ${name} answers with Buffers: give it one without return_buffers.`,
    )
  }
  const changed = arrived.find((prefix) => prefix !== keyPrefix)
  if (changed !== undefined)
    throw new ConfigError(`A queue ${prefixProblem(queue, String(changed).replace(keyPrefix, ''))}.`)
}
