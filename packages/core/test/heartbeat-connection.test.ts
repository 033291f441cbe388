import { type AnyDatabase, connect, FreezingProxy, legDatabase, onPostgres, until } from '@holdfast/chaos'
import { type Kysely, sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { migrate, type TaskMonitor, type TaskMonitorOptions } from '../src/index.js'
import { fast } from './support/fast.js'
import { Fixture, refs } from './support/fixture.js'
import { enqueuedRefs, taskRows } from './support/table-queue.js'

/** The server's own id of a connection, to kill it by. */
async function backendOf(db: Kysely<unknown>): Promise<number> {
  const id = onPostgres() ? sql<number>`pg_backend_pid()` : sql<number>`connection_id()`
  const { rows } = await sql<{ id: number | string }>`select ${id} as id`.execute(db)
  return Number(rows[0]!.id)
}

async function kill(db: Kysely<unknown>, backend: number): Promise<void> {
  await (onPostgres()
    ? sql`select pg_terminate_backend(${backend})`
    : sql`kill ${sql.raw(String(backend))}`
  ).execute(db)
}

/** Kills every connection to this database but one, and the one that asks. */
async function killAllBut(backend: number, db: Kysely<unknown>): Promise<void> {
  const { rows } = await (onPostgres()
    ? sql<{ id: number }>`select pid as id from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()`
    : sql<{ id: number }>`select id from information_schema.processlist
        where db = database() and id <> connection_id()`
  ).execute(db)
  for (const { id } of rows) {
    if (Number(id) !== backend) await kill(db, Number(id))
  }
}

/** Takes a connection out of the pool until it is told to give it back. */
async function hold(db: AnyDatabase): Promise<{ backend: number; release(): Promise<void> }> {
  let release!: () => void
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  let done!: Promise<void>
  const backend = await new Promise<number>((resolve, reject) => {
    done = db.connection().execute(async (connection) => {
      resolve(await backendOf(connection))
      await released
    })
    done.catch(reject)
  })
  return {
    backend,
    async release() {
      release()
      await done
    },
  }
}

const beatsOf = async (db: AnyDatabase, processId: string): Promise<number> => {
  const { rows } = await sql<{ beat: number | string }>`
    select beat from holdfast_processes where process_id = ${processId}`.execute(db)
  return Number(rows[0]!.beat)
}

describe('heartbeats on a pool', () => {
  let fixture: Fixture
  let pools: AnyDatabase[]
  let warnings: string[]
  beforeEach(async () => {
    fixture = await Fixture.create()
    pools = []
    warnings = []
  })
  afterEach(async () => {
    await fixture[Symbol.asyncDispose]()
    await Promise.all(pools.map((pool) => pool.destroy()))
  })

  function pool(max: number): AnyDatabase {
    const db = connect(fixture.database.url, max)
    pools.push(db)
    return db
  }

  const on = (db: AnyDatabase): Partial<TaskMonitorOptions> => ({
    db,
    logger: { warn: (message) => warnings.push(message), error: () => undefined },
  })

  /** Where all others are in use by the time it asks, it has none: a busy machine may take that long to start. */
  async function startedReserved(db: AnyDatabase): Promise<TaskMonitor> {
    const monitor = await fixture.started(on(db))
    await until(() => monitor.health().heartbeatsThrough === 'reserved')
    return monitor
  }

  it('of two go on while handlers hold and want every other connection for three leases', async () => {
    const db = pool(2)
    await fixture.started() // Who would recover.
    const monitor = await startedReserved(db)
    await monitor.register({ payload: null, jobRef: 'a' })
    const handler = await hold(db)
    const waiting = hold(db)
    const before = await beatsOf(fixture.db, monitor.processId)
    const beats = (3 * fast.orphanThreshold) / fast.heartbeatInterval
    await until(async () => (await beatsOf(fixture.db, monitor.processId)) >= before + beats)
    const { events } = monitor.health()
    expect([events.leaseExpired, events.evicted]).toEqual([undefined, undefined])
    expect(await enqueuedRefs(fixture.db)).toEqual([])
    expect(await taskRows(fixture.db)).toHaveLength(1)
    await handler.release()
    await (await waiting).release()
  })

  const shared = (): string[] => warnings.filter((warning) => warning.includes('share the pool'))

  it.each([1, 2])('of %i do all there is to do, and leave the pool free at the end', async (size) => {
    const db = pool(size)
    await migrate(db)
    const { child } = await fixture.holder({ refs: refs(5) })
    // Slow enough for a second connection to be made in time on a busy machine.
    const monitor = await fixture.started({ ...on(db), heartbeatInterval: 1_000, orphanThreshold: 8_000 })
    await until(() =>
      size === 1 ? shared().length === 1 : monitor.health().heartbeatsThrough === 'reserved',
    )
    expect(await monitor.run({ payload: null, jobRef: 'own' }, async () => 'done')).toBe('done')
    await child.kill()
    await until(async () => (await enqueuedRefs(fixture.db)).length === 5)
    await Promise.all(refs(20, 'x').map((jobRef) => monitor.run({ payload: null, jobRef }, async () => {})))
    await monitor.register({ payload: null, jobRef: 'left' })
    await migrate(db)
    await monitor.stop({ drain: 0 })
    expect((await enqueuedRefs(fixture.db)).sort()).toEqual([...refs(5), 'left'])
    expect(shared()).toHaveLength(size === 1 ? 1 : 0)
    await pools.pop()!.destroy()
  })

  it('whose other connections are all in use at the start share it, and take one when they can', async () => {
    const db = pool(2)
    const handler = await hold(db)
    const monitor = await fixture.started(on(db))
    await until(() => shared().length > 0)
    expect(monitor.health().heartbeatsThrough).toBe('pool')
    await handler.release()
    await until(() => monitor.health().heartbeatsThrough === 'reserved')
    expect(shared()).toHaveLength(1)
  })

  it('that is one connection for all can be started on, worked with and stopped', async () => {
    await fixture.db.connection().execute(async (db) => {
      const monitor = await fixture.started(on(db))
      await until(() => shared().length === 1)
      expect(await monitor.run({ payload: null, jobRef: 'a' }, async () => 'done')).toBe('done')
      await monitor.register({ payload: null, jobRef: 'left' })
      await monitor.stop({ drain: 0 })
    })
    expect(await enqueuedRefs(fixture.db)).toEqual(['left'])
  })

  it('give the connection back when the process is removed, and take one again', async () => {
    const db = pool(2)
    const monitor = fixture.monitor(on(db))
    await monitor.pingProcess()
    const handler = await hold(db)
    expect(await monitor.pingProcess()).toBe(true)
    await handler.release()
    await monitor.removeProcess()
    const both = [await hold(db), await hold(db)]
    for (const { release } of both) await release()
    await monitor.pingProcess()
    await monitor.removeProcess()
    await pools.pop()!.destroy()
  })

  it('share it when told to: then handlers can starve them', async () => {
    const db = pool(2)
    await fixture.started() // Who recovers.
    const monitor = await fixture.started({ ...on(db), reserveConnection: false })
    await monitor.register({ payload: null, jobRef: 'a' })
    const both = [await hold(db), await hold(db)]
    await until(async () => (await enqueuedRefs(fixture.db)).length === 1)
    for (const { release } of both) await release()
    expect(monitor.health().events.leaseExpired).toBe(1)
    expect(shared()).toEqual([])
  })

  // Behind the pooler a connection of the pool is none of the server's.
  it.skipIf(legDatabase() === 'pgbouncer')(
    'of two outlive the end of the reserved one (the server’s own, so not behind a pooler)',
    async () => {
      const db = pool(2)
      const monitor = await startedReserved(db)
      const failures: unknown[] = []
      monitor.on('heartbeatFailed', ({ error }) => failures.push(error))
      const task = await monitor.register({ payload: null, jobRef: 'a' })
      const admin = pool(1)
      const handler = await hold(db)
      for (let round = 0; round < 3; round++) {
        const before = await beatsOf(admin, monitor.processId)
        await killAllBut(handler.backend, admin)
        await until(async () => (await beatsOf(admin, monitor.processId)) >= before + 5)
      }
      await until(() => monitor.health().heartbeatsThrough === 'reserved')
      const second = hold(db)
      const before = await beatsOf(admin, monitor.processId)
      await until(async () => (await beatsOf(admin, monitor.processId)) >= before + 10)
      await handler.release()
      await (await second).release()
      expect(monitor.health().events.leaseExpired).toBeUndefined()
      // On a busy machine an answer may be late; none may be the broken connection's.
      expect(failures.filter((error) => !String(error).includes('No answer within'))).toEqual([])
      await task.complete()
    },
  )

  it('move to another connection when the reserved one falls silent, and leak none', async () => {
    const { proxy, url } = await FreezingProxy.to(fixture.database.url)
    const db = connect(url, 5)
    const monitor = await fixture.started({ ...on(db), orphanThreshold: 8_000 })
    await until(() => monitor.health().heartbeatsThrough === 'reserved')
    proxy.freeze()
    const before = await beatsOf(fixture.db, monitor.processId)
    await until(async () => (await beatsOf(fixture.db, monitor.processId)) >= before + 5)
    await until(() => monitor.health().heartbeatsThrough === 'reserved')
    expect(monitor.health().events.evicted).toBeUndefined()
    proxy.breakFrozen()
    const all = await Promise.all([hold(db), hold(db), hold(db), hold(db)])
    for (const { release } of all) await release()
    await monitor.stop({ drain: 0 })
    await db.destroy()
    await proxy[Symbol.asyncDispose]()
  })
})
