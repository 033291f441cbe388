import { randomUUID } from 'node:crypto'
import type { Transaction } from 'kysely'
import type { DecidedJob, JobOutcome, QueueAdapter, RecoveryContext } from './adapter.js'
import { show } from './check-options.js'
import type { PayloadCodec } from './codec.js'
import { withDatabaseErrors } from './database-errors.js'
import { AdapterError, ConfigError, NotQuarantinedError } from './errors.js'
import { type Events, messageOf, type QuarantinedEvent, type RecoveredEvent } from './events.js'
import { findAdapter } from './find-adapter.js'
import type { Logger } from './logger.js'
import type { MonitorConfig } from './options.js'
import { answered } from './recovery/answered.js'
import { checkOutcomes } from './recovery/check-outcomes.js'
import { contextOf } from './recovery/context.js'
import { renameQuarantined } from './recovery/rename.js'
import { recoveredEvent, takesCountAlong } from './recovery/settle.js'
import { writeCrashes } from './store/crashes.js'
import { insertRecoveries } from './store/history.js'
import { deleteQuarantined, findQuarantined, listQuarantine, type QuarantineRow } from './store/quarantine.js'
import { inTransaction, type Store } from './store/store.js'
import { readPayload } from './task/payload.js'

/** A job that will not run again by itself. */
export interface QuarantineEntry extends QuarantinedEvent {
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
   * @throws NotQuarantinedError when `after` is there no more: begin anew
   * @throws ConfigError, DatabaseError
   */
  async list(options: QuarantineListOptions = {}): Promise<QuarantineEntry[]> {
    const { queue, after, limit = 100 } = options
    if (!Number.isSafeInteger(limit) || limit < 1 || limit > 10_000) {
      throw new ConfigError(`limit must be a whole number from 1 to 10000: ${show(limit)}.`)
    }
    const { store } = this.#parts
    return this.#database('list the quarantine', async () => {
      const rows = await listQuarantine(store, { queue, after, limit })
      if (rows.length === 0 && after !== undefined && !(await findQuarantined(store, after))) {
        throw notQuarantined(after)
      }
      return rows.map(entryOf)
    })
  }

  /** One entry with its payload; undefined when there is none of this id. */
  async get(id: string): Promise<QuarantineDetails | undefined> {
    const row = await this.#database('read the quarantine', () => findQuarantined(this.#parts.store, id))
    if (row === undefined) return undefined
    const { payload: stored, ...entry } = row
    try {
      return { ...entryOf(entry), payload: readPayload(stored, this.#parts.codec), stored }
    } catch (error) {
      return { ...entryOf(entry), payload: undefined, payloadError: messageOf(error), stored }
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
    let renamed: string | undefined
    const rename: RecoveryContext['rename'] = async (_, jobRef) => {
      await renameQuarantined(store, id, { ...job, jobRef: renamed ?? job.jobRef }, jobRef)
      renamed = jobRef
    }
    const finish = async (inner: Store, outcome: JobOutcome): Promise<RecoveredEvent> => {
      if (!(await deleteQuarantined(inner, id))) throw notQuarantined(id)
      const event = recoveredEvent(job, outcome)
      await insertRecoveries(inner, [{ ...event, id: randomUUID(), byProcess: byProcess() }])
      if (event.newJobRef !== null && event.newJobRef !== renamed && takesCountAlong(event)) {
        await writeCrashes(inner, event.queue, new Map([[event.newJobRef, event.crashes]]))
      }
      return event
    }
    let outcome: JobOutcome
    let event: RecoveredEvent
    if (adapter.capabilities.atomicRecovery) {
      ;[outcome, event] = await inTransaction(store, async (inner) => {
        if ((await findQuarantined(inner, id, true)) === undefined) throw notQuarantined(id)
        const done = await this.#recover({ store: inner, adapter }, job, inner.db)
        return [done, await finish(inner, done)] as const
      })
    } else {
      outcome = await this.#recover({ store, adapter, rename }, job, undefined)
      event = await inTransaction(store, (inner) => finish(inner, outcome))
    }
    events.emit('recovered', event)
    return outcome
  }

  #job(row: QuarantineRow): DecidedJob {
    const { id, taskId: fullId, processId, queue, jobRef, crashes } = row
    const payload = readPayload(row.payload, this.#parts.codec)
    const taskId = fullId.slice(processId.length + 1)
    const base = { fullId, processId, taskId, nonce: 0, queue, jobRef, payload }
    const orphan = { ...base, cause: 'retry', onCrash: null, orphanedForMs: null } as const
    return { orphan, jobRef, crashes, recoveryId: `retry:${id}`, decision: { kind: 'requeue' } }
  }

  async #recover(
    parts: { store: Store; adapter: QueueAdapter; rename?: RecoveryContext['rename'] },
    job: DecidedJob,
    trx: Transaction<unknown> | undefined,
  ): Promise<JobOutcome> {
    const { logger, config } = this.#parts
    const { adapter } = parts
    const { signal } = new AbortController()
    const context = contextOf({ ...parts, logger, signal }, trx)
    const recover = async (): Promise<readonly JobOutcome[]> => {
      // A row may have stood for many jobs: this is about the one.
      const expanded = (await adapter.expand?.([job.orphan], context)) ?? []
      const detail = expanded.find(({ jobRef }) => jobRef === job.jobRef)?.detail
      return adapter.recover([{ ...job, detail }], context)
    }
    const outcomes = await answered({ adapter, config }, 'retries', recover())
    checkOutcomes(adapter, outcomes, 1)
    const outcome = outcomes[0]!
    const why = refusal(outcome)
    if (why === undefined) return outcome
    throw new AdapterError(
      `Adapter ${JSON.stringify(adapter.name)} did not make the job runnable: ${why}. It stays in quarantine.`,
    )
  }

  #database<T>(what: string, work: () => Promise<T>): Promise<T> {
    return withDatabaseErrors(this.#parts.store, what, work)
  }
}

function entryOf({ processId: fromProcess, ...row }: Omit<QuarantineRow, 'payload'>): QuarantineEntry {
  return { ...row, fromProcess }
}

/** Why a retry left the job where it was; undefined when it did not. */
function refusal(outcome: JobOutcome): string | undefined {
  if (outcome.kind === 'failed') return messageOf(outcome.error)
  if (outcome.kind === 'exhausted') return outcome.reason
  return outcome.kind === 'quarantined' ? 'it quarantined it again' : undefined
}

const notQuarantined = (id: string): NotQuarantinedError =>
  new NotQuarantinedError(
    `There is no quarantined job ${JSON.stringify(id)}: it was retried or discarded before, or never was.`,
  )
