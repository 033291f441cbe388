import { until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

const endless = { orphanThreshold: 3_600_000 }

describe('a worker process that stops', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it('tells tasks that listen when the drain is over', async () => {
    // graphile-worker itself then tells them nothing.
    const preset = { worker: { gracefulShutdownAbortTimeout: 60_000 } }
    const leaving = await fixture.worker({ monitor: endless, preset })
    for (const task of ['listening', 'tracked'] as const) await fixture.add(task, { gate: 'never' })
    await fixture.started(2)
    leaving.send('stop')
    await leaving.message('stopped')
    const givenBack = expect.objectContaining({ attempts: 0, lockedBy: null, available: true })
    expect(await fixture.jobs()).toEqual([givenBack, givenBack])
  })

  it('by its runner alone waits for handed-off work, which may still use its connections', async () => {
    const leaving = await fixture.worker({ monitor: endless })
    await fixture.add('handed', { gate: 'open', query: true })
    await fixture.started(1)
    leaving.send('stopRunner')
    await fixture.openGate('open')
    await leaving.message('stopped')
    expect(await fixture.ledger('query')).toHaveLength(1)
    expect(await fixture.jobs()).toEqual([])
    expect(await fixture.tasks()).toEqual([])
  })

  it('runs no finished job again, however late graphile-worker removes it', async () => {
    const preset = { worker: { completeJobBatchDelay: 20, maxPoolSize: 2 } }
    // Patient: work that outlasts the drain runs again, as it should.
    const leaving = await fixture.worker({ monitor: endless, concurrency: 100, preset, drain: 30_000 })
    const next = await fixture.worker({ monitor: endless, concurrency: 1 })
    await sql`select graphile_worker.add_jobs(array(
      select ('guarded', '{}', null, null, null, null, null, null)::graphile_worker.job_spec
      from generate_series(1, 300)))`.execute(fixture.db)
    await fixture.finished(100)
    leaving.send('stop')
    await leaving.message('stopped')
    await until(async () => (await fixture.jobs()).length === 0)
    const finishes = await fixture.ledger('finish')
    expect(new Set(finishes.map(({ job }) => job)).size).toBe(300)
    expect(finishes).toHaveLength(300)
    expect(next.process.exitCode).toBeNull()
  })

  it('begins no job a second time that may be tried only once: it stands failed', async () => {
    const leaving = await fixture.worker({ monitor: endless })
    for (const task of ['guarded', 'listening', 'tracked', 'handed'] as const) {
      await fixture.add(task, { gate: 'never' }, { maxAttempts: 1 })
    }
    await fixture.started(4)
    await until(async () => (await fixture.jobs()).length === 3)
    await fixture.worker({ monitor: endless })
    leaving.send('stop')
    await until(async () => (await fixture.jobs()).filter(({ lastError }) => lastError !== null).length === 4)
    for (const job of await fixture.jobs()) {
      expect(job).toMatchObject({ attempts: 1, lockedBy: null, available: false })
      const givenBack = 'This job was given back by its worker while it ran, on its last attempt (1 of 1)'
      // In place, a task that listens may have been quick enough to say so itself.
      const own = 'Holdfast: this process stops, or may soon be taken for dead; end this job.'
      const saysItself = job.identifier === 'listening' || job.identifier === 'tracked'
      expect(saysItself ? [givenBack, own] : [givenBack]).toContain(job.lastError)
    }
    expect(await fixture.ledger('start')).toHaveLength(4)
  })

  it('by its runner alone tells tasks that listen when graphile-worker does', async () => {
    const preset = { worker: { gracefulShutdownAbortTimeout: 100 } }
    const leaving = await fixture.worker({ monitor: endless, preset })
    for (const task of ['listening', 'tracked'] as const) await fixture.add(task, { gate: 'never' })
    await fixture.started(2)
    leaving.send('stopRunner')
    await leaving.message('stopped')
    expect((await fixture.jobs()).map(({ lockedBy }) => lockedBy)).toEqual([null, null])
    expect(await fixture.tasks()).toEqual([])
  })
})
