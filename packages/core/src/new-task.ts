import { randomUUID } from 'node:crypto'
import type { QueueAdapter } from './adapter.js'
import { ConfigError } from './errors.js'
import type { RegisterOptions } from './monitor-types.js'
import type { MonitorConfig } from './options.js'
import { serializePayload } from './payload.js'
import type { NewTask } from './store/tasks.js'

/**
 * The row of a task to be registered.
 *
 * @throws ConfigError, PayloadError, PayloadTooLargeError
 */
export function newTask(
  { id, queue, jobRef, payload }: RegisterOptions,
  adapters: readonly QueueAdapter[],
  { maxPayloadBytes }: MonitorConfig,
): NewTask {
  return {
    id: id === undefined ? randomUUID() : checkId('id', id),
    queue: checkQueue(queue, adapters),
    jobRef: jobRef === undefined ? null : checkId('jobRef', jobRef),
    payload: serializePayload(payload, maxPayloadBytes),
  }
}

function checkQueue(queue: string | undefined, adapters: readonly QueueAdapter[]): string {
  const names = adapters.map(({ name }) => name)
  if (queue === undefined && names.length === 1) return names[0]!
  if (queue !== undefined && names.includes(queue)) return queue
  const known = names.map((name) => JSON.stringify(name)).join(', ')
  throw new ConfigError(
    `This monitor has no adapter for the queue ${JSON.stringify(queue)}; it has ${known}.`,
  )
}

function checkId(name: string, value: unknown): string {
  if (typeof value === 'string' && /^[^\0]{1,191}$/.test(value)) return value
  throw new ConfigError(`${name} must be a string of 1 to 191 characters: ${JSON.stringify(value)}`)
}
