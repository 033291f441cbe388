import type { QueueAdapter } from './adapter.js'
import { ConfigError } from './errors.js'

/**
 * The adapter of a queue; without a name the only one.
 *
 * @throws ConfigError
 */
export function findAdapter(adapters: readonly QueueAdapter[], queue: string | undefined): QueueAdapter {
  const found =
    queue === undefined && adapters.length === 1 ? adapters[0] : adapters.find(({ name }) => name === queue)
  if (found !== undefined) return found
  const known = adapters.map(({ name }) => JSON.stringify(name)).join(', ')
  throw new ConfigError(
    `This monitor has no adapter for the queue ${JSON.stringify(queue)}; it has ${known}.`,
  )
}
