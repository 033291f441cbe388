import type { RedisClient } from './bee-queue.js'

/**
 * Teaches Redis bee-queue's scripts, those that it has not. bee-queue does so once, and a Redis that has restarted or
 * failed over since then knows none of them: jobs can't be added then, nor stalled ones found.
 */
export async function loadScripts(client: RedisClient): Promise<void> {
  const { default: lua } = await import('bee-queue/lib/lua/index.js')
  await lua.buildCache(client)
}
