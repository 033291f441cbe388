import { until } from '@holdfast/chaos'
import type { TaskHandle } from '@holdfast/core'
import type { Task } from 'graphile-worker'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { GraphileWorkerAdapter } from '../src/index.js'
import { Fixture } from './support/fixture.js'
import { hasLocalQueue } from './support/graphile.js'
import { InProcess, type InProcessOptions } from './support/in-process.js'

let fixture: Fixture
beforeEach(async () => {
  fixture = await Fixture.create()
})
afterEach(() => fixture[Symbol.asyncDispose]())

/** As error trackers wrap tasks. */
const wrap =
  (task: Task, told: unknown[] = []): Task =>
  async (payload, helpers) => {
    try {
      return await task(payload, helpers)
    } catch (error) {
      told.push(error)
      throw error
    }
  }

interface Row {
  readonly kind: string
  readonly job_ref: string
  readonly on_crash: string | null
}

const rows = async (): Promise<Row[]> =>
  (
    await sql<Row>`select payload::json ->> 'kind' as kind, job_ref, on_crash from holdfast_tasks
      where job_ref is not null`.execute(fixture.db)
  ).rows

const over = (): Promise<unknown> =>
  until(async () => (await fixture.jobs()).length + (await rows()).length === 0, { what: 'all is over' })

const WAYS = {
  track: (adapter: GraphileWorkerAdapter, work: (n: unknown) => unknown): Task =>
    adapter.track(async (payload) => void (await work(payload)), { onCrash: 'quarantine' }),
  handOff: (adapter: GraphileWorkerAdapter, work: (n: unknown) => unknown): Task =>
    adapter.handOff(work, { concurrency: 2, onCrash: 'quarantine' }),
} as const

const started = { track: 'started', handOff: 'handOff' } as const

describe.each(['track', 'handOff'] as const)('a task under %s that the user has wrapped', (way) => {
  it.each([
    ['a new job', { attempts: 0, crashes: 0, options: {} }],
    ['one that is tried again', { attempts: 1, crashes: 0, options: {} }],
    ['a suspect', { attempts: 2, crashes: 2, options: {} }],
    ...(hasLocalQueue
      ? ([
          [
            'one that was fetched ahead',
            { attempts: 0, crashes: 0, options: { preset: { worker: { localQueue: { size: 3 } } } } },
          ],
        ] as const)
      : []),
    [
      'one under the adapter’s own options',
      { attempts: 0, crashes: 0, options: { adapter: { mode: 'track' } } },
    ],
  ] as const)('is protected once, as it says, and waits for nothing (%s)', async (_, given) => {
    const id = await fixture.add('named')
    await sql`update graphile_worker._private_jobs set attempts = ${given.attempts}::int`.execute(fixture.db)
    if (given.crashes > 0) {
      await sql`insert into holdfast_crashes (queue, job_ref, count, last_crash_at)
        values ('graphile-worker', ${id}, ${given.crashes}::int, now())`.execute(fixture.db)
    }
    const seen: Row[][] = []
    const work = async (): Promise<void> => void seen.push(await rows())
    await using worker = await InProcess.of(fixture, {
      tasks: (adapter) => ({ named: wrap(WAYS[way](adapter, work)) }),
      ...(given.options as Partial<InProcessOptions>),
    })
    // Far less than a suspect waits for others.
    await until(() => seen.length > 0, { timeout: 10_000 })
    await over()
    expect(seen).toEqual([[{ kind: started[way], job_ref: id, on_crash: 'quarantine' }]])
    expect(worker.errors).toEqual([])
    await worker.stopsAtOnce()
  })

  it('fails with what its handler threw', async () => {
    const error = new Error('no luck')
    const told: unknown[] = []
    await using worker = await InProcess.of(fixture, {
      tasks: (adapter) => ({
        named: wrap(
          WAYS[way](adapter, () => Promise.reject(error)),
          told,
        ),
      }),
    })
    await fixture.add('named', {}, { maxAttempts: 1 })
    await until(async () => (await fixture.jobs()).some(({ lastError }) => lastError === 'no luck'))
    await until(async () => (await rows()).length === 0)
    // A handed-off job was finished for its wrapper, as for graphile-worker.
    expect(told).toEqual(way === 'track' ? [error] : [])
    await worker.stopsAtOnce()
  })
})

describe('a tracked task', () => {
  it('whose wrapper makes something else of its error ends as that says', async () => {
    let runs = 0
    await using worker = await InProcess.of(fixture, {
      tasks: (adapter) => {
        const failing = adapter.track(() => {
          runs += 1
          throw new Error('no luck')
        })
        return {
          named: (payload, helpers) =>
            Promise.resolve(failing(payload, helpers)).catch(() => undefined) as never,
          tracked: (payload, helpers) =>
            Promise.resolve(failing(payload, helpers)).catch(() => {
              throw new Error('other words')
            }),
        }
      },
    })
    await fixture.add('named')
    await until(async () => runs === 1 && (await fixture.jobs()).length === 0)
    await fixture.add('tracked', {}, { maxAttempts: 1 })
    await until(async () => (await fixture.jobs()).some(({ lastError }) => lastError === 'other words'))
    expect(runs).toBe(2)
    await worker.stopsAtOnce()
  })

  it('whose wrapper tries it again is protected as before', async () => {
    const seen: number[] = []
    await using worker = await InProcess.of(fixture, {
      tasks: (adapter) => {
        const task = adapter.track(async () => {
          seen.push((await rows()).length)
          if (seen.length === 1) throw new Error('no luck')
        })
        return {
          named: (payload, helpers) =>
            Promise.resolve(task(payload, helpers)).catch(() => task(payload, helpers)),
        }
      },
    })
    await fixture.add('named')
    await until(() => seen.length === 2)
    await over()
    expect([seen, worker.errors]).toEqual([[1, 1], []])
  })

  it('that was completed by its handler is not run again by its wrapper', async () => {
    let runs = 0
    const told: unknown[] = []
    await using worker = await InProcess.of(fixture, {
      tasks: (adapter) => {
        const task = adapter.track(async (_, { task }) => {
          runs += 1
          await task.complete()
        })
        return {
          named: async (payload, helpers) => {
            await task(payload, helpers)
            await Promise.resolve(task(payload, helpers)).catch((error) => told.push(error.name))
          },
        }
      },
    })
    await fixture.add('named')
    await until(() => told.length > 0)
    await over()
    expect([runs, told, worker.errors]).toEqual([1, ['TaskLostError'], []])
  })

  type Work = (task: TaskHandle) => Promise<void>
  const NESTED: Record<string, (adapter: GraphileWorkerAdapter, work: Work) => Task> = {
    'track in track': (adapter, work) => adapter.track(adapter.track((_, { task }) => work(task)) as never),
    'hand-off in track': (adapter, work) =>
      adapter.track(adapter.handOff((_, { task }) => work(task), { concurrency: 1 }) as never),
    'track in hand-off': (adapter, work) =>
      adapter.handOff(adapter.track((_, { task }) => work(task)) as never, { concurrency: 1 }),
    'hand-off in hand-off': (adapter, work) =>
      adapter.handOff(adapter.handOff((_, { task }) => work(task), { concurrency: 1 }) as never, {
        concurrency: 1,
      }),
  }

  it.each(Object.keys(NESTED))('that is wrapped twice is protected once (%s)', async (how) => {
    const seen: unknown[] = []
    await using worker = await InProcess.of(fixture, {
      tasks: (adapter) => ({
        named: NESTED[how]!(adapter, async (task) => {
          await until(async () => (await fixture.jobs()).length === (how === 'track in track' ? 1 : 0))
          seen.push(
            (await rows()).map(({ kind }) => kind),
            task.open,
          )
          await task.complete()
          seen.push('completed')
        }),
      }),
    })
    await fixture.add('named')
    await until(() => seen.length === 3)
    await over()
    const kind = how === 'track in track' ? 'started' : 'handOff'
    expect([seen, worker.errors]).toEqual([[[kind], true, 'completed'], []])
    await worker.stopsAtOnce()
  })
})
