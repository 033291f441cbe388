// What the jobs of the tests do: they tell a ledger, and wait for gates.
import type { AnyDatabase } from '@holdfast/chaos'
import type { TaskHandle } from '@holdfast/core'

export interface Payload {
  /** Waits in the handler until the row `gate` is there, or the signal aborts. */
  readonly gate?: string
  /** Does not listen to its signal. */
  readonly deaf?: boolean
  readonly fail?: string
  /** Kills its own process. */
  readonly kill?: boolean
  /** Writes its ledger row and completes in one transaction, then waits for this gate. */
  readonly inTransaction?: string
  readonly result?: unknown
  /** Gives itself back. */
  readonly release?: boolean
  /** Completes its task by itself. */
  readonly complete?: boolean
  readonly progress?: boolean
  readonly [more: string]: unknown
}

export interface Work {
  readonly id: string
  readonly data: Payload
  readonly signal?: AbortSignal
  readonly task?: TaskHandle
  reportProgress?(): Promise<void>
}

const never = new AbortController().signal

/** @param detail noted with all that is done */
export function workOn(db: AnyDatabase, detail: string): (job: Work) => Promise<unknown> {
  /** A handler is patient: while the database is away it waits, so that only Holdfast is what a test sees. */
  async function patiently<T>(query: () => Promise<T>, signal: AbortSignal): Promise<T> {
    for (;;) {
      signal.throwIfAborted()
      try {
        return await query()
      } catch (error) {
        console.error(`handler waits: ${error}`)
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    }
  }

  async function note(what: string, job: string, signal = never): Promise<void> {
    const entry = { what, job, pid: process.pid, detail }
    await patiently(() => db.insertInto('ledger').values(entry).execute(), signal)
  }

  async function gateOpen(name: string, signal: AbortSignal): Promise<void> {
    const query = db.selectFrom('gates').select('name').where('name', '=', name)
    while ((await patiently(() => query.executeTakeFirst(), signal)) === undefined) {
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  return async (job) => {
    const { id, data, task } = job
    const signal = data.deaf ? never : (job.signal ?? never)
    await note('start', id, signal)
    if (data.kill) process.kill(process.pid, 'SIGKILL')
    if (data.inTransaction !== undefined) {
      await db.transaction().execute(async (trx) => {
        await trx.insertInto('ledger').values({ what: 'effect', job: id, pid: process.pid }).execute()
        await task!.complete({ trx })
      })
      await gateOpen(data.inTransaction, signal)
    }
    if (data.progress) await job.reportProgress!()
    if (data.release) await task!.release()
    if (data.gate !== undefined) await gateOpen(data.gate, signal)
    if (data.complete) await task!.complete()
    if (data.fail !== undefined) throw new Error(data.fail)
    await note('finish', id, signal)
    return data.result
  }
}
