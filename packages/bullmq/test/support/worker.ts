// A process that works on BullMQ's jobs with Holdfast: to be killed, paused and stopped.
import { setTimeout as delay } from 'node:timers/promises'
import { childOptions, connect, Ledger, type Thrown, thrown } from '@holdfast/chaos'
import { type TaskHandle, TaskMonitor, type TaskMonitorOptions } from '@holdfast/core'
import type { Job, WorkerOptions } from 'bullmq'
import { type ControlledTransaction, sql, type Transaction } from 'kysely'
import { bullmqAdapter, type ProtectedJob } from '../../src/index.js'
import { bullmq, connectionOf } from './bull.js'
import { type Ending, endTask } from './endings.js'
import { TIMES } from './times.js'
import { otherAdapter, type Wrapper, wrapped } from './wrapped.js'

export interface ChildWorkerOptions {
  readonly url: string
  readonly redis: string
  readonly ledger: string
  readonly queue: string
  readonly prefix?: string
  /** Of the BullMQ worker. */
  readonly settings?: Partial<WorkerOptions>
  /** @default 'track' */
  readonly way?: 'track' | 'handOff' | 'guard' | 'plain'
  readonly handOffConcurrency?: number
  /** How the protected processor is wrapped once more. */
  readonly wrapper?: Wrapper
  /** Its row can't be written at first: the table has another name. */
  readonly hidesTasks?: boolean
  /** Guarded, its processor is tracked all the same. */
  readonly tracked?: boolean
  /** Its worker's backoffs throw. */
  readonly brokenBackoff?: boolean
  /** A file that BullMQ runs jobs in, in a thread of its own, instead of the processor here. */
  readonly sandbox?: string
  readonly monitor?: Partial<TaskMonitorOptions>
  /** Kills itself in the middle of each recovery: it has taken the job, and has not moved it on. */
  readonly diesRecovering?: boolean
  /** Its monitor never starts. */
  readonly neverStarts?: boolean
  /** Its payloads can't be stored while the gate `unstorable` is open and `storable` is not. */
  readonly codec?: boolean
  /** Milliseconds that its stop waits for what runs. @default 500 */
  readonly drain?: number
}

/** What a test has a job do. */
export interface Work {
  /** Waits until the gate is open, or the signal aborts where `listens`. */
  readonly gate?: string
  readonly listens?: boolean
  readonly fail?: string
  /** Throws one of these. */
  readonly throws?: Thrown
  /** How its runs end their task themselves, one after the other. */
  readonly endings?: readonly Ending[]
  /** Fails until it has begun this often. */
  readonly failFirst?: number
  readonly kill?: boolean
  /** Blocks the event loop until this gate opens. */
  readonly blockUntil?: string
  readonly result?: unknown
  readonly progress?: number
  /**
   * Completes its task in a transaction of its own, with a row in `effects`. That commits; is rolled back, the first
   * `times` that the job begins, since its work throws in it, or since its connection is cut; or stays open until the
   * gates `commit` or `rollBack` are opened.
   */
  readonly transaction?: 'commits' | 'throws' | 'isCut' | 'staysOpen'
  readonly times?: number
  /** Goes on as if nothing had been, when its transaction was rolled back. */
  readonly swallows?: boolean
  /** Moves itself, the first time that it begins. */
  readonly moves?: 'delayed' | 'wait' | 'rateLimit'
}

const options: ChildWorkerOptions = childOptions()
const ledger = new Ledger(options.ledger)
const send = (message: object): void => void process.send?.(message)
const db = connect(options.url, 4)
const { way = 'track', handOffConcurrency = 50 } = options
const connection = connectionOf(options.redis)
const base = { connection, ...(options.prefix ? { prefix: options.prefix } : {}) }

const queue = new bullmq.Queue(options.queue, base)
queue.on('error', () => undefined)
if (options.diesRecovering) queue.getJob = () => process.kill(process.pid, 'SIGKILL') as never
const adapter = bullmqAdapter({ queues: [queue] })
const other = otherAdapter([queue])
const quiet = { warn: () => undefined, error: () => undefined }
const codec = {
  encode(text: string): string {
    if (ledger.isOpen('unstorable') && !ledger.isOpen('storable')) throw new Error('not to be stored')
    return text
  },
  decode: (stored: string) => stored,
}
const monitor = new TaskMonitor({
  db,
  ...(options.codec && { codec }),
  adapters: [adapter, other],
  logger: quiet,
  ...TIMES,
  ...options.monitor,
})
for (const name of [
  ...(['evicted', 'recovered', 'quarantined', 'recoveryFailed', 'taskOverdue', 'unprotected'] as const),
]) {
  monitor.on(name, (event) =>
    send({ type: name, ...event, error: String('error' in event ? event.error : '') }),
  )
}

// biome-ignore lint/suspicious/noExplicitAny: as the database of the tests has it
type Tables = any

async function inTransaction(task: TaskHandle, job: string, how: Work['transaction']): Promise<void> {
  const completes = async (trx: Transaction<Tables>): Promise<void> => {
    await sql`insert into effects (job) values (${job})`.execute(trx)
    await task.complete({ trx })
  }
  if (how === 'staysOpen') {
    const trx = await db.startTransaction().execute()
    await completes(trx)
    void decide(trx)
    return
  }
  await db.transaction().execute(async (trx) => {
    await completes(trx)
    if (how === 'throws') throw new Error('rolled back')
    if (how === 'isCut') await cut(trx)
  })
}

async function decide(trx: ControlledTransaction<Tables>): Promise<void> {
  while (!ledger.isOpen('commit') && !ledger.isOpen('rollBack')) await delay(10)
  await (ledger.isOpen('commit') ? trx.commit() : trx.rollback()).execute()
}

/** Has the server end the connection, so that the commit fails. */
async function cut(trx: Transaction<Tables>): Promise<void> {
  const isPostgres = options.url.startsWith('postgres')
  const id = sql.raw(isPostgres ? 'pg_backend_pid()' : 'connection_id()')
  const { rows } = await sql<{ id: number }>`select ${id} as id`.execute(trx)
  await sql
    .raw(isPostgres ? `select pg_terminate_backend(${rows[0]!.id})` : `kill ${rows[0]!.id}`)
    .execute(db)
}

async function work(job: Job, token: string, signal: AbortSignal): Promise<unknown> {
  const { gate, listens, fail, failFirst, kill, blockUntil, result, progress, moves } = job.data as Work
  const { transaction, times, swallows, throws, endings } = job.data as Work
  const id = job.id!
  const note = (what: 'start' | 'finish' | 'aborted', detail?: unknown): void =>
    ledger.note({ what, job: id, detail })
  const { task } = job as ProtectedJob
  note('start', {
    protected: task?.protected,
    made: job.attemptsMade,
    stalled: job.stalledCounter,
    name: job.name,
  })
  if (progress !== undefined) await job.updateProgress(progress)
  if (kill) process.kill(process.pid, 'SIGKILL')
  while (blockUntil !== undefined && !ledger.isOpen(blockUntil));
  signal?.addEventListener('abort', () =>
    note('aborted', String((signal.reason as { code?: unknown })?.code ?? signal.reason)),
  )
  while (gate !== undefined && !ledger.isOpen(gate)) {
    if (listens) signal.throwIfAborted()
    await delay(10)
  }
  const runs = ledger.entries('start', id).length
  if (transaction !== undefined) {
    const how = times !== undefined && runs > times ? 'commits' : transaction
    await inTransaction(task, id, how).catch((error) => {
      if (!swallows) throw error
    })
  }
  const ending = endings?.[runs - 1]
  const ended = ending && (await endTask(ending, { db, job: job as ProtectedJob, ledger }))
  if (throws !== undefined) throw thrown(throws)
  if (fail !== undefined) throw new Error(fail)
  if (failFirst !== undefined && runs <= failFirst) throw new Error('not yet')
  if (moves === 'delayed' && runs === 1) {
    await job.moveToDelayed(Date.now() + 50, token)
    throw new bullmq.DelayedError()
  }
  if (moves === 'wait' && runs === 1) {
    await job.moveToWait(token)
    throw new bullmq.WaitingError()
  }
  if (moves === 'rateLimit' && runs === 1) {
    await queue.rateLimit(50)
    throw new bullmq.RateLimitError()
  }
  note('finish')
  return ended ?? result
}

const parts = { adapter, other, isOpen: (gate: string) => ledger.isOpen(gate) }

function processorOf(): unknown {
  const { wrapper, tracked } = options
  if (way === 'plain' || (way === 'guard' && !tracked)) return work
  if (wrapper !== undefined)
    return wrapped(wrapper, work as never, { ...parts, way: way as 'track' | 'handOff' })
  if (way === 'handOff') return adapter.handOff(work as never, { concurrency: handOffConcurrency })
  return adapter.track(work as never)
}

const processor = processorOf()

const worker = new bullmq.Worker(options.queue, (options.sandbox ?? processor) as never, {
  ...{ ...base, concurrency: 10, autorun: false, lockDuration: 30_000, drainDelay: 1 },
  ...options.settings,
  ...(options.brokenBackoff && {
    settings: { backoffStrategy: () => Promise.reject(new Error('no backoff')) },
  }),
})
worker.on('error', (error) => ledger.note({ what: 'error', job: '', detail: error.message }))
worker.on('closing', () => send({ type: 'closing' }))
worker.on('completed', (job, result) =>
  ledger.note({ what: 'completed', job: job.id!, detail: typeof result === 'bigint' ? 'a bigint' : result }),
)
worker.on('failed', (job, error) =>
  ledger.note({ what: 'failed', job: job?.id ?? '', detail: error.message }),
)

process.on('message', async (message: string | { cancel: string }) => {
  if (typeof message === 'object') worker.cancelJob(message.cancel, 'not wanted any more')
  if (message === 'stop') {
    await monitor.stop({ drain: options.drain ?? 500 })
    send({ type: 'stopped' })
    await worker.close().catch(() => undefined)
    await queue.close()
    await db.destroy()
    process.disconnect()
  }
  if (message === 'stopMonitor') {
    await monitor.stop()
    send({ type: 'monitorStopped' })
  }
  if (message === 'closeQueue') {
    await queue.close()
    send({ type: 'queueClosed' })
  }
  if (message === 'close' || message === 'closeByForce') {
    await worker.close(message === 'closeByForce')
    send({ type: 'closed' })
  }
})
if (way !== 'plain' && !options.neverStarts) await monitor.start()
if (options.hidesTasks) await sql`alter table holdfast_tasks rename to elsewhere`.execute(db)
if (way === 'guard') await adapter.guard(worker)
void worker.run()
await worker.waitUntilReady()
send({ type: 'ready', processId: monitor.processId })
