import type { TaskHandle } from '@holdfast/core'

// bee-queue's own types need those of redis 2, and lack or get wrong some of what stands here, so these are ours. A
// bee-queue `Queue` and its jobs fit them.

/** What an adapter sees of a bee-queue job. */
export interface BeeJob<Data = unknown> {
  id: string
  data: Data
  // biome-ignore lint/suspicious/noExplicitAny: bee-queue's own type, and users keep what they like in it
  readonly options: any
  // biome-ignore lint/suspicious/noExplicitAny: whatever the user reports
  progress: any
  // biome-ignore lint/suspicious/noExplicitAny: void in bee-queue's types, a promise in truth
  reportProgress(progress: any): any
}

/** bee-queue's job, and what stands for it while its handler runs. */
export type ProtectedJob<Job extends BeeJob = BeeJob> = Job & {
  /**
   * Aborts when the work should end: others may soon run the job, its `timeout` is over, or the process stops.
   * The reason says which.
   */
  readonly signal: AbortSignal
  /** `task.protected` is false where the job runs although it could not be registered. */
  readonly task: TaskHandle
}

export type DoneCallback<Result> = (error: Error | null, result?: Result) => void

/** A handler in bee-queue's promise or callback form. `this` is the queue. */
export type BeeHandler<Data, Result> = (
  job: ProtectedJob<BeeJob<Data>>,
  done: DoneCallback<Result>,
  // biome-ignore lint/suspicious/noConfusingVoidType: what a handler of the callback form returns
) => Promise<Result> | undefined | void

/** What `queue.process()` takes. */
export type WrappedHandler<Data, Result> = (job: BeeJob<Data>) => Promise<Result>

/** A bee-queue `Queue`, 1.7 or 2. */
export interface BeeQueue {
  readonly name: string
  // biome-ignore lint/suspicious/noExplicitAny: bee-queue's own type
  readonly settings: any
  paused: boolean
  close(timeout?: number | null): Promise<void>
  checkStalledJobs(): Promise<number>
}

/** What node_redis 3 and ioredis 4 have in common. */
export interface RedisClient {
  on(event: string, listener: (...args: never[]) => void): unknown
  duplicate(options?: object): RedisClient
  eval(args: readonly (string | number)[], done: (error: Error | null, reply?: unknown) => void): unknown
  client(...args: unknown[]): unknown
  quit(done: (error: Error | null) => void): unknown
}

type Popped = (error: Error | null, id?: string | null) => void

/** The client with which a queue waits for jobs. */
export interface BlockingClient extends RedisClient {
  brpoplpush(from: string, to: string, timeout: number, popped: Popped): unknown
  /** Of node_redis. */
  end?(flush: boolean): void
  /** Of ioredis. */
  disconnect?(): void
}

/** What bee-queue 1.7 and 2 have and don't show; `checkOptions` sees to it that it is there. */
export interface BeeQueueInternals extends BeeQueue {
  client: RedisClient
  readonly bclient: BlockingClient | null
  readonly checkTimer: unknown
  readonly handler: unknown
  ready(): Promise<unknown>
  on(event: string, listener: (error: Error) => void): unknown
  emit(event: string, ...args: unknown[]): boolean
  listenerCount(event: string): number
  toKey(name: string): string
  _finishJob(error: unknown, data: unknown, job: BeeJobInternals): Promise<Finished>
  _getNextJob(): Promise<BeeJobInternals | null>
  _activateDelayed(): void
}

/** What a job has become; nothing where bee-queue shall leave it alone. */
export type Finished = readonly [status: string, result: unknown] | undefined

export interface BeeJobInternals extends BeeJob {
  readonly queue: BeeQueueInternals
  toData(): string
}
