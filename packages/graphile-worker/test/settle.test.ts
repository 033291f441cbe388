import { until } from '@holdfast/chaos'
import { type Services, startServices } from '@holdfast/services'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'
import { hasLocalQueue, locksByWorker } from './support/graphile.js'

describe('a job that ends while the database is away', () => {
  let services: Services
  let fixture: Fixture
  beforeEach(async () => {
    services = await startServices(['postgres'], { private: true, durable: true })
    fixture = await Fixture.create({ serverUrl: services.get('postgres').url })
  })
  afterEach(async () => {
    await fixture[Symbol.asyncDispose]()
    await services.stop()
  })

  it('is ended when that comes back, by the process that ran it, and begun by nobody again', async () => {
    const worker = await fixture.worker({ pollInterval: 200, monitor: { orphanThreshold: 10_000 } })
    await fixture.add('guarded', { message: 'go' }, { queueName: 'serial' })
    await fixture.add('guarded', { message: 'go' })
    await fixture.add('tracked', { message: 'go' })
    await fixture.add('guarded', { message: 'go', fail: 'no luck' }, { maxAttempts: 1 })
    await fixture.started(4)
    await services.get('postgres').stop('immediate')
    // What ends as the very first to meet the outage can end its process instead, since 0.17 (README).
    await worker.message('pool:listen:error')
    worker.send('go')
    const done = () => worker.messages.filter((message) => (message as { type: string }).type === 'done')
    await until(() => done().length === 4)
    await services.get('postgres').start()
    await until(async () => (await fixture.jobs()).length === 1)
    await until(async () => (await fixture.jobs())[0]!.lockedBy === null)
    expect(await fixture.jobs()).toEqual([
      expect.objectContaining({ lastError: 'no luck', attempts: 1, available: false }),
    ])
    expect(worker.process.exitCode).toBeNull()
    // It goes on, too.
    await fixture.add('guarded', {}, { queueName: 'serial' })
    await fixture.finished(1)
    expect(await fixture.ledger('start')).toHaveLength(5)
  })

  it('is ended all the same when that is away for longer than a lease; who was told to end runs again, unharmed', async () => {
    const worker = await fixture.worker({ pollInterval: 200, monitor: { orphanThreshold: 1_500 } })
    await fixture.add('guarded', { message: 'go' })
    await fixture.add('tracked', { message: 'go' }, { queueName: 'serial' })
    for (const task of ['listening', 'tracked'] as const) await fixture.add(task, { gate: 'open' })
    await fixture.started(4)
    await services.get('postgres').stop('immediate')
    await worker.message('leaseExpired')
    worker.send('go')
    const done = () => worker.messages.filter((message) => (message as { type: string }).type === 'done')
    await until(() => done().length === 2)
    await services.get('postgres').start()
    await fixture.started(6)
    await until(async () => (await fixture.jobs()).length === 2)
    await fixture.openGate('open')
    await fixture.finished(2)
    await until(async () => (await fixture.jobs()).length === 0)
    const starts = await fixture.ledger('start')
    expect(starts.map(({ attempts }) => attempts)).toEqual([1, 1, 1, 1, 1, 1])
    expect(new Set(starts.slice(4).map(({ job }) => job))).toEqual(new Set(['3', '4']))
    expect(worker.process.exitCode).toBeNull()
    expect(worker.messages).not.toContainEqual(expect.objectContaining({ type: 'evicted' }))
    expect(await fixture.crashes()).toEqual([])
  })
})

describe('a finished job whose end graphile-worker fails to write', () => {
  // No heartbeat may fail: after that Holdfast would write the end itself, and wait until it can.
  const monitor = { heartbeatInterval: 3_000, orphanThreshold: 10_000, gcLockTtl: 20_000 }
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
    // Until the gate is open.
    await sql`create function refuse() returns trigger language plpgsql as $$ begin
      if not exists (select from public.gates where name = 'write') then raise exception 'refused'; end if;
      return coalesce(old, new); end $$`.execute(fixture.db)
    await sql`create trigger refuse before delete on graphile_worker._private_jobs
      for each row execute function refuse()`.execute(fixture.db)
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  const left = async (): Promise<unknown[]> => [
    ...(await fixture.jobs()),
    ...(await fixture.tasks()).filter(({ kind }) => kind !== 'guard'),
  ]

  it('is ended for it while the process lives, and begun by nobody again', async () => {
    const worker = await fixture.worker({ surviving: true, concurrency: 2, pollInterval: 100, monitor })
    await fixture.add('guarded')
    await fixture.finished(1)
    // What it comes to: a dead worker, or an error that nobody handled.
    await worker.message(locksByWorker ? 'worker:fatalError' : 'unhandled')
    expect(await fixture.jobs()).toHaveLength(1)
    await fixture.openGate('write')
    await until(async () => (await left()).length === 0)
    await fixture.add('guarded')
    await fixture.finished(2)
    await until(async () => (await left()).length === 0)
    expect(await fixture.ledger('start')).toHaveLength(2)
  })

  it.runIf(locksByWorker)(
    'and whose pool has no worker left after that (as 0.16 leaves it) is ended, and so is the pool',
    async () => {
      const worker = await fixture.worker({ concurrency: 1, monitor })
      await fixture.add('guarded')
      await worker.message('worker:fatalError')
      await fixture.openGate('write')
      await worker.message('runnerEnded')
      await until(async () => (await left()).length === 0)
      expect(await fixture.ledger('start')).toHaveLength(1)
    },
  )

  it.runIf(hasLocalQueue)(
    'in a batch (since 0.17), which ends its pool, is ended by recovery, and begun by nobody again',
    async () => {
      const preset = { worker: { completeJobBatchDelay: 0 } }
      const worker = await fixture.worker({ preset, monitor })
      await fixture.add('guarded')
      await worker.message('pool:fatalError')
      await worker.message('runnerEnded')
      const other = await fixture.worker()
      await fixture.openGate('write')
      await until(async () => (await fixture.jobs()).length === 0)
      await until(async () => (await fixture.tasks()).length === 1, {
        what: 'only the other’s pool has a row',
      })
      expect(other.process.exitCode).toBeNull()
      expect(await fixture.ledger('start')).toHaveLength(1)
    },
  )

  it.runIf(hasLocalQueue)(
    'runs again within seconds in another process, where that ends its own (since 0.17)',
    async () => {
      const worker = await fixture.worker({ monitor })
      const other = await fixture.worker({ concurrency: 1, monitor })
      await fixture.add('guarded')
      await fixture.finished(1)
      const { pid } = (await fixture.ledger('finish'))[0]!
      await until(() => [worker, other].some(({ process }) => process.exitCode !== null))
      await fixture.openGate('write')
      await fixture.finished(2)
      await until(async () => (await fixture.jobs()).length === 0)
      expect((await fixture.ledger('finish')).map((entry) => entry.pid === pid)).toEqual([true, false])
    },
  )

  it('is never a handed-off one: that begins only when it has left graphile-worker for certain', async () => {
    await fixture.worker()
    const id = await fixture.add('handed')
    await until(async () => (await fixture.tasks()).some(({ kind }) => kind === 'handOff'))
    const proof = await fixture.add('tracked', { gate: 'open' })
    await fixture.started(1)
    expect((await fixture.ledger('start')).map(({ job }) => job)).toEqual([proof])
    await fixture.openGate('write')
    await fixture.openGate('open')
    await fixture.finished(2)
    await until(async () => (await left()).length === 0)
    expect((await fixture.ledger('start')).map(({ job }) => job)).toEqual([proof, id])
  })

  it.each(['tracked', 'handed'] as const)('is written by Holdfast in the first place (%s)', async (task) => {
    const worker = await fixture.worker()
    await fixture.add(task, { gate: 'run' })
    await until(async () => (await fixture.jobs()).length === 1)
    await fixture.openGate('run')
    await fixture.openGate('write')
    await fixture.finished(1)
    await until(async () => (await left()).length === 0)
    expect(worker.process.exitCode).toBeNull()
    expect(await fixture.ledger('start')).toHaveLength(1)
  })
})

describe('SIGTERM while the application stops its runner itself', () => {
  it.each(['guarded', 'tracked', 'handed'] as const)(
    'leaves no finished job to run again (%s)',
    async (task) => {
      await using fixture = await Fixture.create()
      const leaving = await fixture.worker({
        runner: { noHandleSignals: false },
        preset: { worker: { gracefulShutdownAbortTimeout: 60_000 } },
        stopsOnSigterm: true,
        monitor: { orphanThreshold: 3_600_000 },
      })
      await fixture.add(task, { gate: 'open' }, { queueName: 'serial' })
      await fixture.started(1)
      if (task === 'handed') await until(async () => (await fixture.jobs()).length === 0)
      leaving.process.kill('SIGTERM')
      await leaving.message('runnerStopped')
      const next = await fixture.worker({ pollInterval: 500, monitor: { orphanThreshold: 3_600_000 } })
      await fixture.openGate('open')
      await fixture.finished(1)
      await until(async () => (await fixture.jobs()).length === 0)
      expect(await fixture.lockedQueues()).toEqual([])
      await fixture.add('guarded', {}, { queueName: 'serial' })
      await fixture.finished(2)
      expect((await fixture.ledger('start')).map(({ pid }) => pid)).toEqual([leaving.pid, next.pid])
    },
  )

  it('has a job that fails after that fail as graphile-worker would have it', async () => {
    await using fixture = await Fixture.create()
    const leaving = await fixture.worker({
      runner: { noHandleSignals: false },
      preset: { worker: { gracefulShutdownAbortTimeout: 60_000 } },
      stopsOnSigterm: true,
      pollInterval: 500,
      monitor: { orphanThreshold: 3_600_000 },
    })
    for (const task of ['guarded', 'tracked'] as const) {
      await fixture.add(task, { gate: 'open', fail: 'no luck' }, { queueName: task })
    }
    await fixture.started(2)
    leaving.process.kill('SIGTERM')
    await leaving.message('runnerStopped')
    // It recovers, and runs nothing.
    await fixture.worker({ runner: { taskList: {} }, monitor: { orphanThreshold: 3_600_000 } })
    await fixture.openGate('open')
    await until(async () => (await fixture.jobs()).every(({ lockedBy }) => lockedBy === null))
    const failed = { attempts: 1, lastError: 'no luck' }
    expect(await fixture.jobs()).toEqual([expect.objectContaining(failed), expect.objectContaining(failed)])
    expect(await fixture.lockedQueues()).toEqual([])
    expect(await fixture.crashes()).toEqual([])
  })
})
