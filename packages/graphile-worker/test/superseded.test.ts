import { until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'
import { hasLocalQueue } from './support/graphile.js'

describe('a worker process that is killed', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it('does not bring back a handed-off job that a newer one replaced while it waited for its place', async () => {
    const victim = await fixture.worker({ handOffConcurrency: 1 })
    await fixture.add('handed', { gate: 'first' })
    await fixture.started(1)
    const older = await fixture.add('handed', { gate: 'never' }, { jobKey: 'k' })
    await until(async () =>
      (await fixture.jobs()).some(({ id, lockedBy }) => id === older && lockedBy !== null),
    )
    const newer = await fixture.add('handed', { gate: 'never', version: 2 }, { jobKey: 'k' })
    await fixture.openGate('first')
    await fixture.started(2)
    await until(async () => (await fixture.jobs()).every(({ id }) => id === newer))
    const survivor = await fixture.worker({ runner: { taskList: {} } })
    await victim.kill()
    await until(async () => (await fixture.jobs()).every(({ lockedBy }) => lockedBy === null))
    await until(() =>
      survivor.messages.some((told) => {
        const { jobRef, outcome } = told as { jobRef?: string; outcome?: string }
        return jobRef === older && outcome === 'superseded'
      }),
    )
    expect(await fixture.jobs()).toEqual([
      expect.objectContaining({ id: newer, key: 'k', available: true, lastError: null }),
    ])
    expect(await fixture.quarantine()).toEqual([])
  })

  it.each([500, 1])(
    'brings back the newest of several handed-off jobs with one key, recovered %i at a time',
    async (batchSize) => {
      const victim = await fixture.worker()
      for (let version = 1; version <= 4; version++) {
        await fixture.add('handed', { gate: 'never', version }, { jobKey: 'k' })
        await fixture.started(version)
        await until(async () => (await fixture.jobs()).length === 0)
      }
      await fixture.worker({ runner: { taskList: {} }, monitor: { batchSize } })
      await victim.kill()
      await until(async () => (await fixture.tasks()).length === 1)
      expect((await fixture.jobs()).map(({ payload, key }) => [payload, key])).toEqual([
        ['{"gate":"never","version":4}', 'k'],
      ])
    },
  )

  it('piles no jobs up whose key is added anew at every start, however often it is killed', async () => {
    // Patient: none of them may be taken for dead before it is killed.
    const options = { pollInterval: 200, monitor: { orphanThreshold: 10_000 } }
    let worker = await fixture.worker(options)
    for (let start = 0; start < 2; start++) {
      await fixture.add('handed', { gate: 'open', start }, { jobKey: 'poller' })
      await until(async () => {
        await fixture.hurry()
        return (await fixture.jobs()).length === 0
      })
      const next = await fixture.worker(options)
      await worker.kill()
      worker = next
      await until(async () =>
        (await fixture.tasks()).every(({ processId }) => processId.includes(`:${worker.pid}:`)),
      )
    }
    await fixture.openGate('open')
    await until(async () => {
      await fixture.hurry()
      return (await fixture.jobs()).length === 0 && (await fixture.tasks()).length === 1
    })
    const finished = (await fixture.ledger('finish')).length
    expect(finished).toBeGreaterThanOrEqual(1)
    expect(finished).toBeLessThanOrEqual(2)
  })
})

describe('a running job that is replaced by a transaction older than its fetch', () => {
  it.each(['tracked', 'guarded'] as const)('ends, and its successor runs (%s)', async (task) => {
    await using fixture = await Fixture.create()
    const preset = hasLocalQueue ? { worker: { localQueue: { size: 5 } } } : {}
    const monitor = { orphanThreshold: 60_000 }
    await fixture.worker({ concurrency: 1, pollInterval: 200, preset: preset as never, monitor })
    await fixture.db.transaction().execute(async (trx) => {
      await sql`select now()`.execute(trx)
      await fixture.add(task, { gate: 'open' }, { jobKey: 'k' })
      await fixture.started(1)
      await sql`select from graphile_worker.add_job(${task}, '{"n": 2}'::json, job_key => 'k')`.execute(trx)
    })
    await fixture.openGate('open')
    await until(async () => (await fixture.ledger('finish')).length === 2, { what: 'the successor ends' })
    await until(async () => (await fixture.jobs()).length === 0 && (await fixture.tasks()).length === 1)
    expect((await fixture.ledger('start')).map(({ attempts }) => attempts)).toEqual([1, 1])
  })
})
