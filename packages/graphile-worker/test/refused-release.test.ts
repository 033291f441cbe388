import { until } from '@holdfast/chaos'
import type { PayloadCodec, TaskHandle } from '@holdfast/core'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'
import { InProcess } from './support/in-process.js'

let fixture: Fixture
beforeEach(async () => {
  fixture = await Fixture.create()
})
afterEach(() => fixture[Symbol.asyncDispose]())

/** Takes anything but this. */
const refusing = (refused: RegExp): PayloadCodec => ({
  encode(text) {
    if (refused.test(text)) throw new RangeError('The codec does not take this.')
    return text
  },
  decode: (text) => text,
})

const onlyTheGuard = () =>
  until(async () => (await fixture.tasks()).every(({ kind }) => kind === 'guard'), { what: 'no row is left' })

describe.each(['tracked', 'handed'] as const)(
  'a job (%s) whose row can’t be given back as it should',
  (way) => {
    async function workerOf(codec: PayloadCodec, work: (run: number, task: TaskHandle) => unknown) {
      let runs = 0
      const one = async (_: unknown, { task }: { readonly task: TaskHandle }): Promise<void> => {
        runs += 1
        await work(runs, task)
      }
      const worker = await InProcess.of(fixture, {
        monitor: { codec },
        tasks: (adapter) => ({
          tracked: adapter.track(one),
          handed: adapter.handOff(one, { concurrency: 1 }),
          guarded: () => void fixture.openGate('another'),
        }),
      })
      return Object.assign(worker, { runs: () => runs })
    }

    const another = async (): Promise<void> => {
      await fixture.add('guarded')
      await until(async () => (await sql`select from gates`.execute(fixture.db)).rows.length > 0)
    }

    it('since what it failed by is not taken has failed all the same', async () => {
      await using worker = await workerOf(refusing(/no luck/), () => Promise.reject(new Error('no luck')))
      await fixture.add(way, {}, { maxAttempts: 1 })
      await until(async () => (await fixture.jobs()).some(({ lastError }) => lastError !== null))
      await onlyTheGuard()
      expect(await fixture.jobs()).toMatchObject([
        { lastError: 'Failed; with what could not be stored.', lockedBy: null, available: false },
      ])
      await another()
      await worker.stopsAtOnce()
    })

    it('since no failure is taken runs again', async () => {
      await using worker = await workerOf(refusing(/"failure"/), (run) =>
        run > 1 ? undefined : Promise.reject(new Error('no luck')),
      )
      await fixture.add(way)
      await until(async () => worker.runs() === 2 && (await fixture.jobs()).length === 0)
      await onlyTheGuard()
      await another()
      await worker.stopsAtOnce()
    })

    it.runIf(way === 'tracked')('by its handler runs again', async () => {
      await using worker = await workerOf(refusing(/"pauseMs"/), (run, task) =>
        run > 1 ? undefined : task.release(),
      )
      await fixture.add(way)
      await until(async () => worker.runs() === 2 && (await fixture.jobs()).length === 0)
      await onlyTheGuard()
      await another()
      await worker.stopsAtOnce()
    })
  },
)

it('a pool whose last word is not taken leaves no row, and no job locked', async () => {
  // graphile-worker writes nothing of the failure, and Holdfast, which looks after that, can't.
  await sql`create function refuse() returns trigger language plpgsql as $$ begin
    if current_query() like '%ended.failure%' then raise exception 'refused'; end if;
    return null; end $$`.execute(fixture.db)
  await sql`create trigger refuse before update on graphile_worker._private_jobs for each row
    when (new.last_error is distinct from old.last_error) execute function refuse()`.execute(fixture.db)
  await using worker = await InProcess.of(fixture, {
    monitor: { codec: refusing(/no luck/) },
    tasks: () => ({ guarded: () => Promise.reject(new Error('no luck')) }),
  })
  await fixture.add('guarded')
  await until(() => worker.errors.length > 0)
  await worker.stopRunner().catch(() => undefined) // It may have ended already.
  await until(async () => (await fixture.tasks()).length === 0)
  expect(await fixture.jobs()).toMatchObject([{ lockedBy: null, available: true }])
})
