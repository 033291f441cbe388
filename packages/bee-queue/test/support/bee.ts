import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)

/** The package of the bee-queue that this run of the tests is on: HOLDFAST_TEST_BEE_QUEUE. */
const installed = process.env.HOLDFAST_TEST_BEE_QUEUE || 'bee-queue'

export const beeVersion: string = require(`${installed}/package.json`).version

/** bee-queue's jobs as the tests use them. */
export interface Job {
  id: string | null
  data: Record<string, unknown>
  options: Record<string, unknown>
  setId(id: string): this
  retries(n: number): this
  backoff(strategy: string, ms?: number): this
  delayUntil(timestamp: number): this
  timeout(ms: number): this
  save(): Promise<this>
  reportProgress(progress: unknown): Promise<unknown>
  on(event: string, listener: (...args: never[]) => void): this
}

/** bee-queue's queues as the tests use them. */
export interface Queue {
  readonly name: string
  readonly settings: Record<string, unknown> & { keyPrefix: string }
  paused: boolean
  createJob(data: unknown): Job
  process(concurrency: number, handler: (job: never, done: never) => unknown): unknown
  on(event: string, listener: (...args: never[]) => void): this
  ready(): Promise<unknown>
  close(timeout?: number): Promise<void>
  checkStalledJobs(interval?: number): Promise<number>
  checkHealth(): Promise<Record<string, number>>
  removeJob(id: string): Promise<unknown>
}

export const BeeQueue: new (name: string, settings: object) => Queue = require(installed)

export type ClientKind = 'settings' | 'redis 3' | 'ioredis 4'

/** What a queue is told of Redis. */
export function redisOf(url: string, kind: ClientKind = 'settings'): unknown {
  const { port } = new URL(url)
  const quiet = <T extends { on(event: string, listener: () => void): unknown }>(client: T): T => {
    client.on('error', () => undefined)
    return client
  }
  if (kind === 'redis 3') return quiet(require('redis').createClient({ port: Number(port) }))
  if (kind === 'ioredis 4') return quiet(new (require('ioredis-4'))(Number(port)))
  return { port: Number(port) }
}
