import { inspect } from 'node:util'
import { ConfigError } from '@holdfast/core'
import type { BullmqAdapterOptions } from './adapter.js'
import type { QueueInternals, WorkerInternals } from './bullmq.js'
import { keysOf } from './bullmq.js'

const show = (value: unknown): string => inspect(value, { depth: 0, breakLength: Number.POSITIVE_INFINITY })

/** @throws ConfigError naming every wrong option */
export function checkOptions(options: BullmqAdapterOptions): {
  readonly queues: readonly QueueInternals[]
  readonly name: string
} {
  const { queues, name = 'bullmq' } = options ?? {}
  const problems: string[] = []
  if (typeof name !== 'string' || name === '') problems.push(`name must be a non-empty string: ${show(name)}`)
  if (!Array.isArray(queues) || queues.length === 0) {
    problems.push(`queues must be a list of BullMQ's Queues: ${show(queues)}`)
  } else {
    queues.forEach((queue, index) => {
      const problem = problemOf(queue, 'Queue', 'getJob')
      if (problem !== undefined) problems.push(`queues[${index}] ${problem}`)
    })
    const keys = queues.filter((queue) => queue?.qualifiedName !== undefined).map(keysOf)
    const twice = keys.find((prefix, index) => keys.indexOf(prefix) !== index)
    if (twice !== undefined) problems.push(`queues has two with the same keys: ${show(`${twice}*`)}`)
  }
  if (problems.length > 0) throw new ConfigError(`Wrong options for bullmqAdapter: ${problems.join('; ')}.`)
  return { queues: queues as unknown as readonly QueueInternals[], name }
}

/** @throws ConfigError where a worker can't be guarded */
export function checkWorker(worker: unknown, queues: readonly QueueInternals[]): WorkerInternals {
  const problem = problemOf(worker, 'Worker', 'callProcessJob')
  if (problem !== undefined) throw new ConfigError(`adapter.guard() takes a Worker; this ${problem}.`)
  const checked = worker as WorkerInternals
  if (queues.some((queue) => keysOf(queue) === keysOf(checked))) return checked
  throw new ConfigError(
    `adapter.guard(): queue ${show(checked.name)} is not among the adapter's: add it to \`bullmqAdapter({ queues: […] })\`.`,
  )
}

/** @throws ConfigError for what is no function, such as the path of a sandboxed processor */
export function checkProcessor(way: string, processor: unknown): void {
  if (typeof processor === 'function') return
  throw new ConfigError(
    `adapter.${way}() takes a function: ${show(processor)}. A processor in a file of its own runs in another process or ` +
      'thread, where it can’t be wrapped: protect its worker with adapter.guard(worker).',
  )
}

function problemOf(value: unknown, kind: 'Queue' | 'Worker', method: string): string | undefined {
  if (typeof value !== 'object' || value === null) return `is no ${kind} of BullMQ's: ${show(value)}`
  const candidate = value as Record<string, unknown>
  const isIt = typeof candidate.qualifiedName === 'string' && typeof candidate[method] === 'function'
  if (!isIt) return `is no ${kind} of BullMQ 5 or 6: it has no qualifiedName or no ${method}()`
  const backend = candidate.backend as object | undefined
  // A backend without a client keeps its jobs elsewhere.
  if (!('client' in candidate) && !(backend !== undefined && 'client' in backend)) {
    return `(${show(candidate.name)}) keeps its jobs in no Redis: Holdfast works with BullMQ on Redis, by ioredis`
  }
  return undefined
}
