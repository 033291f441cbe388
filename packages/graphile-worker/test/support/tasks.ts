// What the jobs of the tests do: they tell a ledger, and wait for gates.
import type { AnyDatabase } from '@holdfast/chaos'
import type { TaskHandle } from '@holdfast/core'
import type { JobHelpers, TaskList } from 'graphile-worker'
import type { GraphileWorkerAdapter } from '../../src/index.js'

/**
 * `commit`, `rollback`, `failCommit`: a transaction with an effect, in which the task is completed; how it ends is kept from
 * the handler. `leaveOpen`: one that the handler doesn't wait for; it ends when a gate `commit` or `rollback` is open.
 */
type Step = 'commit' | 'rollback' | 'failCommit' | 'leaveOpen' | 'complete' | 'release' | 'throw'

export interface Payload {
  /** Waits in the handler until the row `gate` is there, or the signal aborts. */
  readonly gate?: string
  readonly fail?: string
  /** Kills its own process, once the row `kill` is there if that is a name. */
  readonly kill?: boolean | string
  /** Asks graphile-worker's own connection before it finishes. */
  readonly query?: boolean
  /** Writes its ledger row and completes in one transaction, then waits for this gate. */
  readonly inTransaction?: string
  /** Its first run waits for this gate instead, and then notes an effect and returns. */
  readonly first?: string
  /** Completes its task by itself. */
  readonly complete?: boolean
  /** Reports progress. */
  readonly progress?: boolean
  /** What its first attempt does to its task, one after the other; later attempts do nothing of it. */
  readonly steps?: readonly Step[]
  /** Waits for this message to its process, tells so, and ends; without a database. */
  readonly message?: string
}

interface Job {
  readonly id: string
  readonly attempts: number
}

interface Helpers extends Pick<JobHelpers, 'job' | 'query'> {
  readonly abortSignal?: AbortSignal
  readonly task?: TaskHandle
  reportProgress?(): Promise<void>
}

const never = new AbortController().signal

function messageOf(wanted: string): Promise<void> {
  return new Promise((resolve) => {
    process.on('message', (message) => message === wanted && resolve())
  })
}

export function testTasks(
  db: AnyDatabase,
  adapter: GraphileWorkerAdapter,
  handOffConcurrency: number,
): TaskList {
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

  async function note(what: string, job: Job, signal: AbortSignal): Promise<void> {
    const row = { what, job: job.id, attempts: job.attempts, pid: process.pid }
    await patiently(() => db.insertInto('ledger').values(row).execute(), signal)
  }

  /** The task of the first run of a job. */
  async function firstRun({ id }: Job, task: string): Promise<string> {
    const name = `first of ${id}`
    await db
      .insertInto('first_runs')
      .values({ name, task })
      .onConflict((oc) => oc.doNothing())
      .execute()
    return (
      await db.selectFrom('first_runs').select('task').where('name', '=', name).executeTakeFirstOrThrow()
    ).task
  }

  async function gateOpen(name: string, signal: AbortSignal): Promise<void> {
    const query = db.selectFrom('gates').select('name').where('name', '=', name)
    while ((await patiently(() => query.executeTakeFirst(), signal)) === undefined) {
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  /** Writes an effect and completes the task, in a transaction that ends as it is told. */
  async function complete(job: Job, task: TaskHandle, end: () => Promise<Step>): Promise<void> {
    await db.transaction().execute(async (trx) => {
      const row = { what: 'effect', job: job.id, attempts: job.attempts, pid: process.pid }
      await trx.insertInto('ledger').values(row).execute()
      await task.complete({ trx })
      const ends = await end()
      if (ends === 'rollback') throw new Error('rolled back')
      // Nothing is there for it to refer to; that is found out at the commit.
      if (ends === 'failCommit') await trx.insertInto('unmet').values({ name: 'nothing' }).execute()
    })
  }

  async function eitherGate(): Promise<Step> {
    for (;;) {
      const gates = await db.selectFrom('gates').select('name').execute()
      for (const name of ['commit', 'rollback'] as const)
        if (gates.some((gate) => gate.name === name)) return name
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  async function perform(step: Step, job: Job, task: TaskHandle): Promise<void> {
    if (step === 'throw') throw new Error('no luck')
    if (step === 'complete') return task.complete()
    if (step === 'release') return task.release()
    const quietly = (error: unknown) => console.error(`transaction: ${error}`)
    if (step !== 'leaveOpen') return complete(job, task, async () => step).catch(quietly)
    await new Promise<void>((opened) => {
      const end = () => {
        opened()
        return eitherGate()
      }
      complete(job, task, end).catch(quietly)
    })
  }

  async function work(given: unknown, helpers: Helpers, signal: AbortSignal): Promise<void> {
    const isPlain = typeof given === 'object' && given !== null && !Array.isArray(given)
    const payload: Payload = isPlain ? given : { gate: 'open' }
    const { job, task, query } = helpers
    await note('start', job, signal)
    if (typeof payload.kill === 'string') await gateOpen(payload.kill, signal)
    if (payload.kill) process.kill(process.pid, 'SIGKILL')
    if (payload.inTransaction !== undefined) {
      await db.transaction().execute(async (trx) => {
        const row = { what: 'effect', job: job.id, attempts: job.attempts, pid: process.pid }
        await trx.insertInto('ledger').values(row).execute()
        await task!.complete({ trx })
      })
      return gateOpen(payload.inTransaction, signal)
    }
    if (payload.steps !== undefined && job.attempts === 1) {
      for (const step of payload.steps) await perform(step, job, task!)
    }
    if (payload.message !== undefined) {
      await messageOf(payload.message)
      process.send!({ type: 'done', job: job.id })
      if (payload.fail !== undefined) throw new Error(payload.fail)
      return
    }
    if (payload.first !== undefined && task!.id === (await firstRun(job, task!.id))) {
      await gateOpen(payload.first, never)
      return note('effect', job, never)
    }
    if (payload.progress) await helpers.reportProgress!()
    if (payload.gate !== undefined) await gateOpen(payload.gate, signal)
    if (payload.complete) await task!.complete()
    if (payload.fail !== undefined) throw new Error(payload.fail)
    await note('finish', job, signal)
    if (payload.query) await query('insert into ledger (what, job) values ($1, $2)', ['query', job.id])
  }

  return {
    guarded: (payload, helpers) => work(payload, helpers, never),
    listening: (payload, helpers) => work(payload, helpers, helpers.abortSignal ?? never),
    batch: async (payload, { job }) => {
      await note('start', job, never)
      return (payload as Payload[]).map(async ({ fail }) => {
        if (fail !== undefined) throw new Error(fail)
      })
    },
    /** Like the first, for the options of the adapter. */
    named: (payload, helpers) => work(payload, helpers, helpers.abortSignal ?? never),
    tracked: adapter.track((payload, helpers) => work(payload, helpers, helpers.abortSignal ?? never)),
    handed: adapter.handOff((payload, helpers) => work(payload, helpers, helpers.abortSignal), {
      concurrency: handOffConcurrency,
    }),
  }
}
