import { onPostgres, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { TaskMonitor } from '../src/index.js'
import { Fixture } from './support/fixture.js'
import { Gate } from './support/gate.js'
import { LateWrites } from './support/late-writes.js'
import { addProcess, addTask } from './support/rows.js'
import { enqueuedRefs, rowsGone, tableQueueAdapter, taskRows } from './support/table-queue.js'

const INSERT = /insert into .holdfast_tasks/
const DELETE = /delete from .holdfast_tasks/
const RELEASE = /update .holdfast_tasks.\s+set process_id/
const lost = { code: 'HOLDFAST_DATABASE' }

/** Two lives of the same id and job. */
const same = { payload: null, id: 'same', jobRef: 'a' }

describe('a statement that arrives late', () => {
  let fixture: Fixture
  let late: LateWrites
  let monitor: TaskMonitor
  const failing = new Set<string>()
  const gates: Gate[] = []
  beforeEach(async () => {
    fixture = await Fixture.create()
    late = new LateWrites(fixture.database.url)
    failing.clear()
    monitor = await fixture.started({ db: late.db, adapters: [tableQueueAdapter({ failing })] })
  })
  afterEach(async () => {
    for (const gate of gates.splice(0)) gate.open()
    await monitor.stop({ drain: 0 })
    await late[Symbol.asyncDispose]()
    await fixture[Symbol.asyncDispose]()
  })

  const settled = () => until(() => monitor.health().unsettled === 0, { what: 'all is certain' })
  const noncesOf = async () =>
    (await sql<{ nonce: unknown }>`select nonce from holdfast_tasks`.execute(fixture.db)).rows.map(
      ({ nonce }) => Number(nonce),
    )

  /** INSERTs of tasks that the server has under way. */
  const waitingInserts = async (): Promise<number> => {
    const { rows } = await (onPostgres()
      ? sql`select 1 from pg_stat_activity
          where datname = current_database() and wait_event_type = 'Lock' and query ~ 'insert into "holdfast_tasks"'`
      : sql`select 1 from information_schema.processlist
          where db = database() and info like 'insert into \`holdfast_tasks\`%'`
    ).execute(fixture.db)
    return rows.length
  }

  it('writes no row once it is certain that it was lost, however long after', async () => {
    late.lose(INSERT)
    await expect(monitor.register(same)).rejects.toMatchObject(lost)
    await settled()
    await late.deliver()
    expect(await taskRows(fixture.db)).toEqual([])
    // Others are registered as ever.
    await (await monitor.register(same)).complete()
  })

  it('writes no row over that of the next registration of its job', async () => {
    late.lose(INSERT)
    await expect(monitor.register(same)).rejects.toMatchObject(lost)
    const next = await monitor.register(same)
    expect(await noncesOf()).toEqual([2])
    await late.deliver()
    expect(await noncesOf()).toEqual([2])
    await next.complete()
    expect(await taskRows(fixture.db)).toEqual([])
  })

  it('writes no row over that of a registration of its job that came at once with it', async () => {
    late.lose(INSERT)
    const [first, second] = await Promise.all(
      [1, 2].map((n) => monitor.register({ payload: n, jobRef: 'a' }).catch((error: unknown) => error)),
    )
    expect([first, second]).toEqual([expect.objectContaining(lost), expect.objectContaining(lost)])
    const next = await until(() => monitor.register(same).catch(() => undefined))
    await late.deliver()
    expect(await taskRows(fixture.db)).toMatchObject([{ id: 'same', job_ref: 'a' }])
    await next.complete()
  })

  it('keeps its job from being registered, whatever else of that job becomes certain', async () => {
    const first = await monitor.register({ payload: null, jobRef: 'a' })
    late.lose(DELETE)
    await expect(first.complete()).rejects.toMatchObject(lost)
    late.lose(INSERT)
    await expect(monitor.register({ payload: null, jobRef: 'a' })).rejects.toMatchObject(lost)
    const gate = new Gate()
    gates.push(gate)
    const holding = fixture.db.transaction().execute(async (trx) => {
      // As an INSERT that is under way holds it.
      const lock = sql.raw(onPostgres() ? 'for key share' : 'lock in share mode')
      await sql`select state from holdfast_processes ${lock}`.execute(trx)
      await gate.reached()
    })
    await gate.arrived
    await until(async () => {
      await expect(monitor.register(same)).rejects.toMatchObject(lost)
      return !first.open
    })
    await expect(monitor.register(same)).rejects.toMatchObject(lost)
    gate.open()
    await holding
    const next = await until(() => monitor.register(same).catch(() => undefined))
    while (late.hasLost) await late.deliver()
    expect(await monitor.isRegistered(next)).toBe(true)
    await next.complete()
  })

  it('leaves no way to end its task in a transaction meanwhile, which heartbeats would wait for', async () => {
    const task = await monitor.register(same)
    late.lose(DELETE)
    await expect(task.complete()).rejects.toMatchObject(lost)
    const work = fixture.db.transaction().execute((trx) => task.complete({ trx }))
    await expect(work).rejects.toThrow('Try again without a transaction')
    await settled()
    expect(await monitor.settle(task)).toBe('completed')
    await late.deliver()
  })

  it('leaves its task lost, and known to be, when its process is declared dead', async () => {
    const task = await monitor.register(same)
    const { processId } = monitor
    late.lose(DELETE)
    await expect(task.complete()).rejects.toMatchObject(lost)
    await sql`update holdfast_processes set state = 'dead' where process_id = ${processId}`.execute(
      fixture.db,
    )
    await until(() => monitor.processId !== processId)
    expect([task.open, await monitor.settle(task)]).toEqual([false, 'lost'])
    await until(async () => (await enqueuedRefs(fixture.db)).length === 1)
    await late.deliver()
  })

  // Only on MySQL can it wait for longer than a moment.
  it.runIf(!onPostgres())(
    'is waited for while it waits in the server, and takes no row of others’ when it gets on',
    async () => {
      await addProcess(fixture.db, 'h:1:other')
      const gate = new Gate()
      const holding = fixture.db.transaction().execute(async (trx) => {
        await addTask(trx, 'h:1:other', 'theirs', { jobRef: 'a' })
        await gate.reached()
      })
      await gate.arrived
      gates.push(gate)
      // Without a heartbeat that would settle it before it has come to the server.
      await monitor.stop({ drain: 0 })
      const rare = { heartbeatInterval: 20_000, orphanThreshold: 60_000, gcLockTtl: 60_000 }
      monitor = fixture.monitor({ db: late.db, ...rare })
      await monitor.pingProcess()
      late.lose(INSERT, 'the answer')
      await expect(monitor.register(same)).rejects.toMatchObject(lost)
      await until(async () => (await waitingInserts()) === 1, { what: 'it waits in the server' })
      // It may come through and be the row of its job: nobody else of this process may be.
      for (const id of ['another', 'a third']) {
        await expect(monitor.register({ ...same, id })).rejects.toMatchObject(lost)
      }
      expect(monitor.health().unsettled).toBe(1)
      gate.open()
      await holding
      await until(async () => {
        await monitor.pingProcess()
        return monitor.health().unsettled === 0
      })
      expect(await taskRows(fixture.db)).toMatchObject([{ process_id: 'h:1:other' }])
    },
  )

  it('ends no other registration of its id and job, when it is a complete', async () => {
    const first = await monitor.register(same)
    late.lose(DELETE)
    await expect(first.complete()).rejects.toMatchObject(lost)
    expect(first.open).toBe(true)
    await settled()
    expect(first.open).toBe(false)
    const next = await monitor.register(same)
    expect((await late.deliver()).numAffectedRows).toBe(0n)
    expect(await monitor.isRegistered(next)).toBe(true)
    await next.complete()
  })

  it('gives no other registration of its id and job back, when it is a release', async () => {
    const first = await monitor.register(same)
    late.lose(RELEASE)
    await expect(first.release()).rejects.toMatchObject(lost)
    await settled()
    await until(async () => (await enqueuedRefs(fixture.db)).length === 1)
    const next = await monitor.register(same)
    await late.deliver()
    expect(await taskRows(fixture.db)).toMatchObject([{ process_id: monitor.processId }])
    await next.complete()
    expect(await enqueuedRefs(fixture.db)).toEqual(['a'])
  })

  it('is refused when its process was declared dead meanwhile, and its job recovered', async () => {
    const first = await monitor.register(same)
    const { processId } = monitor
    late.lose(DELETE)
    await expect(first.complete()).rejects.toMatchObject(lost)
    late.lose(INSERT)
    await expect(monitor.register({ payload: null, jobRef: 'b' })).rejects.toMatchObject(lost)
    await sql`update holdfast_processes set state = 'dead' where process_id = ${processId}`.execute(
      fixture.db,
    )
    await until(() => monitor.processId !== processId)
    await until(async () => (await enqueuedRefs(fixture.db)).length === 1)
    const next = await monitor.register(same)
    await late.deliver()
    await late.deliver()
    expect(await taskRows(fixture.db)).toMatchObject([{ process_id: monitor.processId, job_ref: 'a' }])
    await next.complete()
  })

  it('leaves two releases of one id that wait to be recovered two rows, each recovered once', async () => {
    failing.add('a').add('b')
    for (const jobRef of ['a', 'b']) {
      const task = await monitor.register({ payload: null, id: 'same', jobRef })
      late.lose(RELEASE, 'the answer')
      await expect(task.release()).rejects.toMatchObject(lost)
      await settled()
    }
    expect((await taskRows(fixture.db)).map(({ id, job_ref }) => [id, job_ref])).toEqual([
      ['same', 'a'],
      ['same', 'b'],
    ])
    failing.clear()
    await rowsGone(fixture.db)
    expect(await enqueuedRefs(fixture.db)).toEqual(['a', 'b'])
    const { rows } = await sql`select distinct recovery_id from enqueued`.execute(fixture.db)
    expect(rows).toHaveLength(2)
  })
})
