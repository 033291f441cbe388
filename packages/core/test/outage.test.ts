import { until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { TaskHandle } from '../src/index.js'
import { refs } from './support/fixture.js'
import { PrivateServer } from './support/private-server.js'
import { enqueuedRefs, taskRows } from './support/table-queue.js'

describe('the database stopped for longer than the lease', () => {
  let own: PrivateServer
  let fixture: PrivateServer['fixture']
  let server: PrivateServer['server']
  beforeEach(async () => {
    own = await PrivateServer.create()
    ;({ fixture, server } = own)
  })
  afterEach(() => own[Symbol.asyncDispose]())

  /** Stops the server in the middle of everything and starts it when every lease has long run out. */
  async function outage(during: () => Promise<void>): Promise<void> {
    await server.stop('immediate')
    await during()
    await server.start()
    // A pooler may need a moment to notice.
    await until(() => sql`select 1`.execute(fixture.db).catch(() => undefined))
  }

  it('under load: no live task is recovered, none is lost, and the dead are found afterwards', async () => {
    const { child: victim } = await fixture.holder({ refs: refs(10, 'victim') })
    const { child: living } = await fixture.holder({ refs: refs(10, 'living') })
    const monitor = await fixture.started()
    const held: TaskHandle[] = await Promise.all(
      refs(50, 'own').map((jobRef) => monitor.register({ payload: null, jobRef })),
    )

    const load = new Load(() => monitor.run({ payload: null }, async () => undefined))
    await until(() => load.done > 50)
    await outage(async () => {
      await until(() => held.every((task) => task.signal.aborted), { what: 'the local lease ends' })
      await living.message('leaseExpired')
      await expect(monitor.register({ payload: null })).rejects.toMatchObject({
        code: 'HOLDFAST_LEASE_EXPIRED',
      })
      await victim.kill()
    })
    expect(held[0]!.signal.reason).toMatchObject({ code: 'HOLDFAST_LEASE_EXPIRED' })
    const doneBefore = load.done
    await until(() => load.done > doneBefore + 50, { what: 'work goes on after the outage' })
    await load.stop()

    await until(async () => (await enqueuedRefs(fixture.db)).length > 0)
    expect(await enqueuedRefs(fixture.db)).toEqual(refs(10, 'victim'))
    living.send('complete')
    expect(await living.message('completed')).toEqual({ type: 'completed', codes: Array(10).fill('ok') })
    await Promise.all(held.map((task) => task.complete()))
    await until(async () => (await taskRows(fixture.db)).length === 0, {
      what: 'doubtful writes are settled',
    })
  })

  it('while tasks complete: each is completed once the database is back, and none runs again', async () => {
    const monitor = await fixture.started()
    const held = await Promise.all(refs(20).map((jobRef) => monitor.register({ payload: null, jobRef })))
    await outage(async () => {
      const results = await Promise.allSettled(held.map((task) => task.complete()))
      expect(results.map((r) => (r.status === 'rejected' ? r.reason.code : 'ok'))).toEqual(
        Array(20).fill('HOLDFAST_DATABASE'),
      )
      expect(monitor.health().unsettled).toBe(20)
    })
    await until(async () => (await taskRows(fixture.db)).length === 0)
    await monitor.stop()
    expect(await enqueuedRefs(fixture.db)).toEqual([])
  })

  it('while a task is given back: it is given back once the database is back', async () => {
    const monitor = await fixture.started()
    const task = await monitor.register({ payload: null, jobRef: 'a' })
    await outage(async () => {
      await expect(task.release()).rejects.toMatchObject({ code: 'HOLDFAST_DATABASE' })
    })
    await until(async () => (await enqueuedRefs(fixture.db)).length === 1)
    expect(await taskRows(fixture.db)).toEqual([])
  })

  it('while work runs in run(): what the lease’s end cut short runs again, and only that', async () => {
    const monitor = await fixture.started()
    const running = monitor.run({ payload: null, jobRef: 'patient' }, async (task) => {
      await new Promise((_, reject) =>
        task.signal.addEventListener('abort', () => reject(task.signal.reason)),
      )
    })
    running.catch(() => undefined)
    await until(() => monitor.health().inFlight === 1)
    await outage(async () => {
      await expect(running).rejects.toMatchObject({ code: 'HOLDFAST_LEASE_EXPIRED' })
    })
    await until(async () => (await enqueuedRefs(fixture.db)).length === 1)
    expect(await taskRows(fixture.db)).toEqual([])
  })

  it('while a task registers: its id and its job can be registered again once that is certain', async () => {
    const monitor = await fixture.started({ orphanThreshold: 4_000 })
    const registration = { payload: null, id: 'same', jobRef: 'a' }
    const none = { code: 'HOLDFAST_DATABASE' }
    await outage(async () => {
      await expect(monitor.register(registration)).rejects.toMatchObject(none)
      await expect(monitor.register(registration)).rejects.toMatchObject(none)
      await expect(monitor.register({ payload: null, jobRef: 'a' })).rejects.toMatchObject(none)
    })
    const again = await until(() => monitor.register(registration).catch(() => undefined))
    await until(() => monitor.health().unsettled === 0, { what: 'the first can no longer happen' })
    expect(await taskRows(fixture.db)).toEqual([expect.objectContaining({ id: 'same', job_ref: 'a' })])
    await again.complete()
  })

  it('hung rather than stopped: stop says so and returns', async () => {
    const monitor = await fixture.started()
    await monitor.register({ payload: null, jobRef: 'a' })
    const errors: string[] = []
    monitor.on('error', (error) => errors.push(error.message))
    await server.pause()
    await monitor.stop({ drain: 0 })
    await server.resume()
    // Connections that the pool began to open meanwhile may fail still, and mysql2 says so to whoever ends the pool.
    const all = () => Promise.all(Array.from({ length: 10 }, () => sql`select 1`.execute(fixture.db)))
    await until(() => all().catch(() => undefined))
    expect(errors.join()).toContain('others find it when its lease ends')
  })

  it('in the middle of a recovery: every orphan is recovered exactly once', async () => {
    const orphans = refs(300)
    const { child } = await fixture.holder({ refs: orphans })
    const monitor = await fixture.started({ batchSize: 10 })
    let recovered = 0
    monitor.on('recovered', () => recovered++)
    await child.kill()
    await until(() => recovered >= 20, { what: 'the recovery is under way' })
    const errors: unknown[] = []
    monitor.on('error', (error) => errors.push(error))
    await outage(async () => {
      await until(() => errors.length > 0, { what: 'the sweep fails' })
    })
    await until(async () => (await taskRows(fixture.db)).length === 0)
    expect(await enqueuedRefs(fixture.db)).toEqual(orphans)
  })

  it('at stop: stop says so and returns, and the tasks are recovered by others', async () => {
    const monitor = await fixture.started()
    await monitor.register({ payload: null, jobRef: 'a' })
    const errors: string[] = []
    monitor.on('error', (error) => errors.push(error.message))
    await outage(() => monitor.stop({ drain: 0 }))
    expect(errors.join()).toContain('off the list')
    await fixture.started()
    await until(async () => (await enqueuedRefs(fixture.db)).length === 1)
  })
})

/** Runs work again and again, as fast as it goes; failures are part of the test. */
class Load {
  done = 0
  failed = 0
  #stopped = false
  readonly #workers: Promise<void>[]

  constructor(work: () => Promise<void>) {
    this.#workers = Array.from({ length: 4 }, async () => {
      while (!this.#stopped) {
        try {
          await work()
          this.done++
        } catch {
          this.failed++
          await new Promise((resolve) => setImmediate(resolve))
        }
      }
    })
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#workers)
  }
}
