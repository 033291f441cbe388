import { inspect } from 'node:util'
import { ConfigError } from '@holdfast/core'
import type { BeeQueueAdapterOptions } from './adapter.js'
import type { BeeQueueInternals } from './bee-queue.js'
import { isClient, prefixIn, prefixProblem } from './client-prefix.js'

const show = (value: unknown): string => inspect(value, { depth: 0, breakLength: Number.POSITIVE_INFINITY })

/** What this adapter needs of a queue, by its type. */
const NEEDED = {
  toKey: 'function',
  ready: 'function',
  process: 'function',
  checkStalledJobs: 'function',
  _finishJob: 'function',
  _getNextJob: 'function',
  _activateDelayed: 'function',
  settings: 'object',
} as const

/** Marks queues that an adapter has. */
export const PROTECTED = Symbol.for('@holdfast/bee-queue')

/** @throws ConfigError naming every wrong option */
export function checkOptions(options: BeeQueueAdapterOptions): {
  readonly queues: readonly BeeQueueInternals[]
  readonly name: string
} {
  const { queues, name = 'bee-queue' } = options ?? {}
  const problems: string[] = []
  if (typeof name !== 'string' || name === '') problems.push(`name must be a non-empty string: ${show(name)}`)
  if (!Array.isArray(queues) || queues.length === 0) {
    problems.push(`queues must be a list of bee-queue's Queues: ${show(queues)}`)
  } else {
    queues.forEach((queue, index) => {
      const problem = problemOf(queue)
      if (problem !== undefined) problems.push(`queues[${index}] ${problem}`)
    })
    const prefixes = queues.map((queue) => queue?.settings?.keyPrefix)
    const twice = prefixes.find((prefix, index) => prefix !== undefined && prefixes.indexOf(prefix) !== index)
    if (twice !== undefined) problems.push(`queues has two with the same keys: ${show(`${twice}*`)}`)
  }
  if (problems.length > 0) throw new ConfigError(`Wrong options for beeQueueAdapter: ${problems.join('; ')}.`)
  return { queues: queues as unknown as readonly BeeQueueInternals[], name }
}

function problemOf(queue: unknown): string | undefined {
  if (typeof queue !== 'object' || queue === null) return `is no Queue of bee-queue's: ${show(queue)}`
  const candidate = queue as Record<string, unknown>
  const missing = Object.entries(NEEDED).filter(([member, type]) => typeof candidate[member] !== type)
  if (missing.length > 0) {
    return `is no Queue of bee-queue 1.7 or 2: it has no ${missing.map(([member]) => member).join(', ')}`
  }
  const { settings, handler } = queue as BeeQueueInternals
  if (handler)
    return `(${show(settings.keyPrefix)}) processes already: make the adapter before queue.process()`
  if (PROTECTED in queue) {
    return `(${show(settings.keyPrefix)}) is given to another beeQueueAdapter already: one protects it, two would undo each other's ends`
  }
  const problem = clientProblem(settings.redis)
  if (problem !== undefined) return problem
  const clientPrefix = prefixIn(settings.redis)
  if (clientPrefix !== undefined) return prefixProblem(queue as BeeQueueInternals, clientPrefix)
  if ((queue as { ready(): unknown }).ready() !== false) return undefined
  return `(${show(settings.keyPrefix)}) is not connected: call queue.connect() before, or leave out autoConnect: false`
}

/** bee-queue takes a client that it doesn't know for settings, and connects to 127.0.0.1:6379 without a word. */
function clientProblem(redis: unknown): string | undefined {
  if (!isClient(redis)) return undefined
  const className = redis.constructor?.name
  if (className === 'Redis' || className === 'RedisClient') return undefined
  return (
    `has a client that bee-queue doesn't know (${className}) and has taken for settings, so that it is connected to the ` +
    'default server: give it a client of redis 3 or ioredis 4, or settings such as { host, port } or { url }'
  )
}
