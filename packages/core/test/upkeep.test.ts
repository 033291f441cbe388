import { onPostgres, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { AdapterTimeoutError, QueueAdapter, RecoveryContext, TaskMonitor } from '../src/index.js'
import { Fixture } from './support/fixture.js'
import { Gate } from './support/gate.js'
import { addProcess, addTask } from './support/rows.js'
import { listedIn } from './support/steps.js'
import { enqueuedRefs, tableQueueAdapter, taskRows } from './support/table-queue.js'

const sweeps = (monitor: TaskMonitor): number => monitor.health().events.sweep ?? 0

const errorsOf = (monitor: TaskMonitor): { message: string; cause: unknown }[] => {
  const errors: { message: string; cause: unknown }[] = []
  monitor.on('error', ({ message, cause }) => errors.push({ message, cause }))
  return errors
}

describe('the upkeep of a queue', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  type OnSweep = (context: RecoveryContext) => void | Promise<void>

  const adapterOf = (onSweep: OnSweep, atomicRecovery = true): QueueAdapter => {
    const plain = tableQueueAdapter()
    return { ...plain, capabilities: { ...plain.capabilities, atomicRecovery }, onSweep }
  }

  const started = (onSweep: OnSweep, { atomic = true, gcLockTtl = 5_000, sweepInterval = 50 } = {}) =>
    fixture.started({ adapters: [adapterOf(onSweep, atomic)], gcLockTtl, sweepInterval })

  async function orphan(ref: string): Promise<void> {
    await addProcess(fixture.db, `h:1:${ref}`, { state: 'dead' })
    await addTask(fixture.db, `h:1:${ref}`, ref, { jobRef: ref })
  }

  const jobs = async () =>
    (await sql<{ ref: string }>`select ref from jobs order by ref`.execute(fixture.db)).rows.map(
      ({ ref }) => ref,
    )

  it('is done with each sweep, and with nothing else that recovers', async () => {
    let calls = 0
    const keep = () => {
      calls += 1
    }
    const byHand = await listedIn(fixture, { adapters: [adapterOf(keep)] })
    await orphan('a')
    expect(await byHand.cleanupOrphanedTasks()).toMatchObject({ recovered: 1 })
    await (await byHand.register({ payload: null, jobRef: 'b' })).release()
    await byHand.register({ payload: null, jobRef: 'c' })
    await byHand.removeProcess()
    expect(await enqueuedRefs(fixture.db)).toEqual(['a', 'b', 'c'])
    expect(calls).toBe(0)
    const sweeping = await started(keep)
    const seen: number[] = []
    sweeping.on('sweep', () => seen.push(calls))
    await until(() => seen.length === 3)
    expect(seen).toEqual([1, 2, 3])
  })

  it.each([true, false])('is one process’s at a time, atomic: %s', async (atomic) => {
    let running = 0
    let most = 0
    const by = new Set<number>()
    let calls = 0
    const keep = (n: number) => async () => {
      running += 1
      most = Math.max(most, running)
      by.add(n)
      // Longer than a sweep takes.
      const begun = performance.now()
      await until(() => performance.now() - begun > 40)
      running -= 1
      calls += 1
    }
    // Every third would be a matter of chance with one who always comes first.
    const monitors = await Promise.all([0, 1, 2].map((n) => started(keep(n), { atomic })))
    await until(() => calls >= 10 && by.size > 1)
    expect(most).toBe(1)
    expect(monitors.map((monitor) => monitor.health().events.error ?? 0)).toEqual([0, 0, 0])
  })

  it.each([true, false])(
    'is left to another by a sweep that has lost its lock in the meantime, atomic: %s',
    async (atomic) => {
      let calls = 0
      const adapter = adapterOf(() => {
        calls += 1
      }, atomic)
      await orphan('a')
      const monitor = await fixture.started({
        sweepInterval: 50,
        adapters: [
          {
            ...adapter,
            recover: async (jobs) => {
              // Not in the recovery's transaction, of which the lock is no part.
              await sql`update holdfast_locks set term = term + 1, holder = 'other'
                where name = 'gc:table'`.execute(fixture.db)
              return jobs.map(({ jobRef }) => ({ kind: 'requeued', jobRef }))
            },
          },
        ],
      })
      await until(() => sweeps(monitor) === 1)
      expect(await taskRows(fixture.db)).toEqual([])
      expect(calls).toBe(0)
    },
  )

  it('is told to end before another process can do it', async () => {
    const gate = new Gate()
    let signal: AbortSignal | undefined
    const first = await started(
      (context) => {
        signal = context.signal
        return gate.reached()
      },
      { atomic: false, gcLockTtl: 1_000 },
    )
    await gate.arrived
    expect(signal!.aborted).toBe(false)
    const seen: boolean[] = []
    await started(
      () => {
        seen.push(signal!.aborted)
      },
      { atomic: false },
    )
    await until(() => seen.length > 0)
    expect(seen[0]).toBe(true)
    gate.open()
    await first.stop()
  })

  it('is told to end when its process stops', async () => {
    const gate = new Gate()
    let signal: AbortSignal | undefined
    // The lock outlasts the patience of this test.
    const keep = (context: RecoveryContext) => {
      signal = context.signal
      return gate.reached()
    }
    const monitor = await started(keep, { gcLockTtl: 300_000 })
    await gate.arrived
    const stopping = monitor.stop()
    await until(() => signal!.aborted)
    gate.open()
    await stopping
  })

  it('is one with the monitor’s transaction: what it writes is there when it has ended, and not before', async () => {
    const gate = new Gate()
    let wrote = false
    const monitor = await started(async ({ trx }) => {
      if (wrote) return
      await sql`insert into jobs (ref, body) values ('kept up', '')`.execute(trx)
      await gate.reached()
      wrote = true
    })
    await gate.arrived
    expect(await jobs()).toEqual([])
    gate.open()
    await until(() => sweeps(monitor) === 1)
    expect(await jobs()).toEqual(['kept up'])
  })

  it('is ended by the database when its process falls silent in the middle of it', async () => {
    let silence: string | undefined
    await started(async ({ trx }) => {
      const setting = onPostgres()
        ? sql`current_setting('idle_in_transaction_session_timeout')`
        : sql`@@session.wait_timeout`
      const { rows } = await sql<{ set: unknown }>`select ${setting} as ${sql.id('set')}`.execute(trx)
      silence = String(rows[0]!.set)
    })
    await until(() => silence !== undefined)
    expect(silence).toBe(onPostgres() ? '6s' : '6')
  })

  it.each<[string, OnSweep]>([
    [
      'fails',
      async ({ trx }) => {
        await sql`insert into jobs (ref, body) values ('kept up', '')`.execute(trx)
        throw new Error('no upkeep today')
      },
    ],
    [
      'throws at once',
      () => {
        throw new Error('no upkeep today')
      },
    ],
  ])('that %s is undone and told, and stops no sweep', async (_, fail) => {
    const monitor = await started(fail)
    const errors = errorsOf(monitor)
    await until(() => sweeps(monitor) >= 2)
    await orphan('a')
    await until(async () => (await enqueuedRefs(fixture.db)).length === 1)
    expect(await jobs()).toEqual(['a'])
    expect(errors[0]).toMatchObject({
      message: 'the upkeep of "table" failed: no upkeep today',
      cause: expect.objectContaining({ message: 'no upkeep today' }),
    })
    expect(monitor.health().events.recoveryFailed ?? 0).toBe(0)
  })

  it('for a queue elsewhere has no transaction to join, and its failure is told alike', async () => {
    const monitor = await started(({ trx }) => void trx, { atomic: false })
    const errors = errorsOf(monitor)
    await until(() => sweeps(monitor) >= 2 && errors.length >= 2)
    expect(errors[0]!.cause).toMatchObject({
      code: 'HOLDFAST_ADAPTER',
      message: expect.stringContaining('declares atomicRecovery: false'),
    })
  })

  it.each([true, false])(
    'that hangs is given up like any call of an adapter, and done again later, atomic: %s',
    async (atomic) => {
      let calls = 0
      const monitor = await started(
        async (context) => {
          calls += 1
          if (calls > 1) return
          if (atomic) await sql`insert into jobs (ref, body) values ('half', '')`.execute(context.trx)
          await new Promise(() => undefined)
        },
        { atomic, gcLockTtl: 600 },
      )
      const errors = errorsOf(monitor)
      await until(() => calls >= 3)
      expect(errors.map(({ cause }) => (cause as AdapterTimeoutError).code)).toEqual([
        'HOLDFAST_ADAPTER_TIMEOUT',
      ])
      expect(await jobs()).toEqual([])
    },
  )

  it('whose statement waits for a lock holds up no sweep, and waits with one connection', async () => {
    await sql`insert into jobs (ref, body) values ('busy', '')`.execute(fixture.db)
    const gate = new Gate()
    const locking = fixture.db.transaction().execute(async (trx) => {
      await sql`update jobs set body = 'mine' where ref = 'busy'`.execute(trx)
      await gate.reached()
    })
    await gate.arrived
    let calls = 0
    const monitor = await started(
      async ({ trx }) => {
        calls += 1
        await sql`update jobs set body = 'kept up' where ref = 'busy'`.execute(trx)
      },
      { gcLockTtl: 600 },
    )
    const errors = errorsOf(monitor)
    await until(() => sweeps(monitor) >= 2)
    await orphan('a')
    await until(async () => (await enqueuedRefs(fixture.db)).length === 1)
    expect(errors.map(({ cause }) => (cause as AdapterTimeoutError).code)).toEqual([
      'HOLDFAST_ADAPTER_TIMEOUT',
    ])
    expect(calls).toBe(1)
    gate.open()
    await locking
    await until(() => calls > 1)
  })
})
