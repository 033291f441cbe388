import { randomUUID } from 'node:crypto'
import type { Transaction } from 'kysely'
import type { DecidedJob, JobOutcome, QueueAdapter } from './adapter.js'
import { show } from './check-options.js'
import type { PayloadCodec } from './codec.js'
import { withDatabaseErrors } from './database-errors.js'
import { AdapterError, ConfigError, NotQuarantinedError } from './errors.js'
import { type Events, messageOf } from './events.js'
import { findAdapter } from './find-adapter.js'
import type { Logger } from './logger.js'
import type { MonitorConfig } from './options.js'
import { readPayload } from './payload.js'
import { contextOf } from './recovery/context.js'
import { insertRecoveries } from './store/history.js'
import { deleteQuarantined, findQuarantined, listQuarantine, type QuarantineRow } from './store/quarantine.js'
import { inTransaction, type Store } from './store/store.js'

/** A job that will not run again by itself. */
export interface QuarantineEntry {
  readonly id: string
  /** The full id of the task that ended. */
  readonly taskId: string
  readonly queue: string
  readonly jobRef: string | null
  readonly fromProcess: string
  readonly reason: string
  readonly lastError: string
  /** How often the job was in flight in a dying process. */
  readonly crashes: number
  readonly quarantinedMsAgo: number
}

export interface QuarantineDetails extends QuarantineEntry {
  /** The payload as registered; undefined when it can't be read. */
  readonly payload: unknown
  /** Why the payload can't be read: it is not JSON, or was written under a key this process doesn't have. */
  readonly payloadError?: string
  /** The payload as stored, byte for byte. */
  readonly stored: string
}

export interface QuarantineListOptions {
  /** @default all queues */
  readonly queue?: string
  /** @default 100 */
  readonly limit?: number
  /** The id of the last entry of the page before. */
  readonly after?: string
}

export interface QuarantineParts {
  readonly store: Store
  readonly config: MonitorConfig
  readonly codec: PayloadCodec | undefined
  readonly adapters: readonly QueueAdapter[]
  readonly events: Events
  readonly logger: Logger
  byProcess(): string
}

/** Jobs over the cap or beyond recovery, kept with a reason until a person decides. */
export class Quarantine {
  readonly #parts: QuarantineParts

  constructor(parts: QuarantineParts) {
    this.#parts = parts
  }

  /**
   * Entries without their payloads, the latest first.
   *
   * @throws ConfigError, DatabaseError
   */
  async list(options: QuarantineListOptions = {}): Promise<QuarantineEntry[]> {
    const { queue, after, limit = 100 } = options
    if (!Number.isSafeInteger(limit) || limit < 1 || limit > 10_000) {
      throw new ConfigError(`limit must be a whole number from 1 to 10000: ${show(limit)}.`)
    }
    const rows = await this.#database('list the quarantine', () =>
      listQuarantine(this.#parts.store, { queue, after, limit }),
    )
    return rows.map(entryOf)
  }

  /** One entry with its payload; undefined when there is none of this id. */
  async get(id: string): Promise<QuarantineDetails | undefined> {
    const row = await this.#database('read the quarantine', () => findQuarantined(this.#parts.store, id))
    if (row === undefined) return undefined
    try {
      return { ...entryOf(row), payload: readPayload(row.payload, this.#parts.codec), stored: row.payload }
    } catch (error) {
      return { ...entryOf(row), payload: undefined, payloadError: messageOf(error), stored: row.payload }
    }
  }

  /**
   * Makes the job runnable again and takes it out of quarantine, whatever its crash count, which stays: should it crash
   * again, it comes back here. Answers what became of it.
   *
   * @throws NotQuarantinedError, PayloadError, ConfigError (no adapter for its queue), AdapterError when its queue did not
   * take it: then it stays here
   */
  retry(id: string): Promise<JobOutcome> {
    return this.#database(`retry ${id}`, () => this.#retry(id))
  }

  /** Forgets an entry for good. @throws NotQuarantinedError, DatabaseError */
  async discard(id: string): Promise<void> {
    const done = await this.#database(`discard ${id}`, () => deleteQuarantined(this.#parts.store, id))
    if (!done) throw notQuarantined(id)
  }

  async #retry(id: string): Promise<JobOutcome> {
    const { store, adapters, byProcess, events } = this.#parts
    const row = await findQuarantined(store, id)
    if (row === undefined) throw notQuarantined(id)
    const adapter = findAdapter(adapters, row.queue)
    const job = this.#job(row)
    const finish = async (inner: Store, outcome: JobOutcome): Promise<void> => {
      if (!(await deleteQuarantined(inner, id))) throw notQuarantined(id)
      const { orphan, jobRef, crashes } = job
      const newJobRef = outcome.kind === 'requeued' ? outcome.jobRef : jobRef
      const { fullId: taskId, queue, processId: fromProcess, cause } = orphan
      const event = { taskId, queue, jobRef, newJobRef, outcome: outcome.kind, fromProcess, cause, crashes }
      await insertRecoveries(inner, [
        { ...event, id: randomUUID(), byProcess: byProcess(), orphanedForMs: null },
      ])
    }
    let outcome: JobOutcome
    if (adapter.capabilities.atomicRecovery) {
      outcome = await inTransaction(store, async (inner) => {
        if ((await findQuarantined(inner, id, true)) === undefined) throw notQuarantined(id)
        const done = await this.#recover(inner, adapter, job, inner.db)
        await finish(inner, done)
        return done
      })
    } else {
      outcome = await this.#recover(store, adapter, job, undefined)
      await inTransaction(store, (inner) => finish(inner, outcome))
    }
    const { orphan, jobRef, crashes } = job
    events.emit('recovered', {
      taskId: orphan.fullId,
      queue: orphan.queue,
      jobRef,
      newJobRef: outcome.kind === 'requeued' ? outcome.jobRef : jobRef,
      outcome: outcome.kind,
      fromProcess: orphan.processId,
      cause: 'retry',
      crashes,
      orphanedForMs: null,
    })
    return outcome
  }

  #job(row: QuarantineRow): DecidedJob {
    const { id, taskId: fullId, processId, queue, jobRef, crashes } = row
    const payload = readPayload(row.payload, this.#parts.codec)
    const taskId = fullId.slice(processId.length + 1)
    const base = { fullId, processId, taskId, queue, jobRef, payload }
    const orphan = { ...base, cause: 'retry', onCrash: null, orphanedForMs: null } as const
    return { orphan, jobRef, crashes, recoveryId: `retry:${id}`, decision: { kind: 'requeue' } }
  }

  async #recover(
    store: Store,
    adapter: QueueAdapter,
    job: DecidedJob,
    trx: Transaction<unknown> | undefined,
  ): Promise<JobOutcome> {
    const { logger } = this.#parts
    const { signal } = new AbortController()
    const context = contextOf({ store, adapter, logger, signal }, trx)
    // A row may have stood for many jobs: this is about the one.
    const expanded = (await adapter.expand?.([job.orphan], context)) ?? []
    const detail = expanded.find(({ jobRef }) => jobRef === job.jobRef)?.detail
    const [outcome] = await adapter.recover([{ ...job, detail }], context)
    const why =
      outcome?.kind === 'failed'
        ? messageOf(outcome.error)
        : outcome?.kind === 'exhausted'
          ? outcome.reason
          : outcome === undefined || outcome.kind === 'quarantined'
            ? 'it answered nothing of use'
            : undefined
    if (outcome !== undefined && why === undefined) return outcome
    throw new AdapterError(
      `Adapter ${JSON.stringify(adapter.name)} did not make the job runnable: ${why}. It stays in quarantine.`,
    )
  }

  #database<T>(what: string, work: () => Promise<T>): Promise<T> {
    return withDatabaseErrors(this.#parts.store, what, work)
  }
}

function entryOf({ processId: fromProcess, payload: _, ...row }: QuarantineRow): QuarantineEntry {
  return { ...row, fromProcess }
}

const notQuarantined = (id: string): NotQuarantinedError =>
  new NotQuarantinedError(
    `There is no quarantined job ${JSON.stringify(id)}: it was retried or discarded before, or never was.`,
  )
