import type { BeeQueueInternals } from './bee-queue.js'

/** Whether bee-queue's `redis` setting is a client rather than settings for one. */
export const isClient = (redis: unknown): redis is Record<string, unknown> => {
  const { duplicate, sendCommand } = (redis ?? {}) as Record<string, unknown>
  return typeof duplicate === 'function' || typeof sendCommand === 'function'
}

/** What a client puts before every key, as far as its options or the settings for it show. */
export function prefixIn(redis: unknown): string | undefined {
  const { prefix, keyPrefix } = ((isClient(redis) ? redis.options : redis) ?? {}) as Record<string, unknown>
  // From settings bee-queue makes clients of redis 3.
  const value = isClient(redis) && redis.constructor?.name !== 'RedisClient' ? keyPrefix : prefix
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** Why a queue on such a client can't be protected, and what to do: the queue's own prefix can take its place. */
export function prefixProblem({ name, settings }: BeeQueueInternals, clientPrefix: string): string {
  const own = String(settings.keyPrefix).slice(0, -`:${name}:`.length)
  const queue = `new Queue(${JSON.stringify(name)}, { prefix: ${JSON.stringify(`${clientPrefix}${own}`)}, redis: … })`
  return (
    `(${JSON.stringify(settings.keyPrefix)}) is on a Redis client that puts ${JSON.stringify(clientPrefix)} before every key (\`prefix\` of redis 3, ` +
    '`keyPrefix` of ioredis), so that the end of a job would be written to other keys and every job would run for ever: ' +
    `give it a client without, and the queue itself a prefix, in every process: ${queue} has the same keys`
  )
}
