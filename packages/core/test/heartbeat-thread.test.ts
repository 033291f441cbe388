import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Child, compiled, freshDatabase, onPostgres, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type MonitorHealth, migrate, TaskMonitor, type TaskMonitorOptions } from '../src/index.js'
import { fast, mortal } from './support/fast.js'
import { Fixture } from './support/fixture.js'
import { enqueuedRefs, tableQueueAdapter, taskRows } from './support/table-queue.js'

const LEASE = mortal.orphanThreshold

describe('a process whose event loop is blocked', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  const thread = (options: Partial<TaskMonitorOptions> = {}): Partial<TaskMonitorOptions> => ({
    heartbeatThread: true,
    heartbeatConnection: fixture.database.url,
    ...options,
  })

  /** A child that holds the job `a`, and someone who would recover it. */
  async function holder(monitor: Partial<TaskMonitorOptions>): Promise<Child> {
    const { child } = await fixture.holder({ refs: ['a'], monitor })
    if (monitor.heartbeatThread) await threadBeats(child)
    await fixture.started()
    return child
  }

  const health = async (child: Child): Promise<MonitorHealth> => {
    const seen = child.messages.length
    child.send('health')
    return until(() => messagesOf<MonitorHealth>(child, 'health', seen)[0])
  }

  async function beats(processId: string): Promise<number> {
    const { rows } = await sql<{ beat: number | string }>`
      select beat from holdfast_processes where process_id = ${processId}`.execute(fixture.db)
    return Number(rows[0]!.beat)
  }

  const threadBeats = (child: Child) =>
    until(async () => (await health(child)).heartbeatsThrough === 'thread', { what: child.output })

  const messagesOf = <T>(child: Child, type: string, from = 0): T[] =>
    child.messages.slice(from).filter((message) => (message as { type?: string }).type === type) as T[]

  const failuresOf = (child: Child): string[] =>
    messagesOf<{ error: string }>(child, 'heartbeatFailed').map(({ error }) => error)

  async function block(child: Child, ms: number): Promise<{ leaseRemainingMs: number }> {
    const seen = child.messages.length
    child.send({ block: ms })
    return until(() => messagesOf<{ leaseRemainingMs: number }>(child, 'blocked', seen)[0])
  }

  /** Another process holds the job `a`, and is blocked for at least `ms` and until it has been recovered. */
  async function blockUntilRecovered(monitor: Partial<TaskMonitorOptions>, ms: number): Promise<Child> {
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-block-'))
    const end = join(folder, 'end')
    const { child } = await fixture.holder({ refs: ['a'], monitor }, 'blocked-holder')
    if (monitor.heartbeatThread) await threadBeats(child)
    await fixture.started()
    child.send({ blockFor: ms, until: end })
    await until(async () => (await enqueuedRefs(fixture.db)).length > 0)
    writeFileSync(end, '')
    await child.message('unblocked')
    rmSync(folder, { recursive: true })
    return child
  }

  async function complete(child: Child): Promise<string[]> {
    child.send('complete')
    return (await child.message<{ codes: string[] }>('completed')).codes
  }

  it.each([1.5, 5])('for %d leases is recovered once, and its late complete refused', async (leases) => {
    const child = await blockUntilRecovered({}, leases * LEASE)
    expect(await complete(child)).toEqual(['HOLDFAST_TASK_LOST'])
    await child.message('evicted')
    expect(await enqueuedRefs(fixture.db)).toEqual(['a'])
    const { blockedForMs } = await child.message<{ blockedForMs: number }>('eventLoopBlocked')
    expect(blockedForMs).toBeGreaterThan((leases - 0.5) * LEASE)
  })

  it.each([1.5, 5])('for %d leases with a heartbeat thread keeps its task', async (leases) => {
    const child = await holder(thread())
    const { leaseRemainingMs } = await block(child, leases * LEASE)
    expect(leaseRemainingMs).toBeGreaterThan(0)
    const { blockedForMs } = await child.message<{ blockedForMs: number }>('eventLoopBlocked')
    expect(blockedForMs).toBeGreaterThan((leases - 0.5) * LEASE)
    expect(await complete(child)).toEqual(['ok'])
    for (const type of ['aborted', 'leaseExpired', 'evicted']) expect(messagesOf(child, type)).toEqual([])
    // On a busy machine an answer may be late.
    expect(failuresOf(child).filter((error) => !error.includes('No answer within'))).toEqual([])
    expect(await enqueuedRefs(fixture.db)).toEqual([])
    expect(await taskRows(fixture.db)).toEqual([])
  })

  it('for longer than maxLoopBlock is recovered all the same', async () => {
    const child = await blockUntilRecovered(thread({ maxLoopBlock: LEASE }), 2 * LEASE)
    expect(await complete(child)).toEqual(['HOLDFAST_TASK_LOST'])
    await child.message('leaseExpired')
    await child.message('evicted')
    expect(await enqueuedRefs(fixture.db)).toEqual(['a'])
    // Under its new id the thread beats for it again.
    await threadBeats(child)
    const { leaseRemainingMs } = await block(child, 2 * LEASE)
    expect(leaseRemainingMs).toBeLessThanOrEqual(0)
  })

  it('beats on when the thread dies, tells, and starts it again', async () => {
    const child = await holder(thread())
    for (let round = 1; round <= 2; round++) {
      child.send('end thread')
      await until(() => failuresOf(child).filter((error) => error.includes('thread died')).length === round)
      await threadBeats(child)
    }
    await block(child, 2 * LEASE)
    expect(await complete(child)).toEqual(['ok'])
    expect(messagesOf(child, 'leaseExpired')).toEqual([])
  })

  it('beats for the new incarnation after an eviction', async () => {
    const child = await holder(thread())
    child.pause()
    await until(async () => (await enqueuedRefs(fixture.db)).length === 1)
    child.resume()
    await child.message('evicted')
    await threadBeats(child)
    const seen = child.messages.length
    await block(child, 3 * LEASE)
    child.send('register')
    await child.message('registered')
    expect(messagesOf(child, 'evicted', seen)).toEqual([])
  })

  it('can make its connection in a module', async () => {
    const heartbeatConnection = compiled(new URL('./support/heartbeat-database.ts', import.meta.url)).href
    const child = await holder(thread({ heartbeatConnection }))
    await block(child, 2 * LEASE)
    expect(await complete(child)).toEqual(['ok'])
  })

  it('with a thread that can’t connect, or has no such module, beats itself and tells', async () => {
    const unreachable = new URL(fixture.database.url)
    unreachable.port = '1'
    for (const heartbeatConnection of [unreachable.href, 'file:///no/such/module.js']) {
      const { child, processId } = await fixture.holder({
        refs: [],
        monitor: thread({ heartbeatConnection, orphanThreshold: fast.orphanThreshold }),
      })
      await child.message('heartbeatFailed')
      child.send('register')
      await child.message('registered')
      const before = await beats(processId)
      await until(async () => (await beats(processId)) >= before + 10)
      expect(messagesOf(child, 'leaseExpired')).toEqual([])
      expect((await health(child)).heartbeatsThrough).toBe('reserved')
    }
  })

  it('with a thread on the wrong database is told so, and not evicted', async () => {
    await using other = await freshDatabase()
    await migrate(other.db)
    const { child } = await fixture.holder({
      refs: ['a'],
      monitor: thread({ heartbeatConnection: other.url }),
    })
    await until(() => failuresOf(child).some((error) => error.includes('must lead to the same database')))
    expect(await complete(child)).toEqual(['ok'])
    expect(messagesOf(child, 'evicted')).toEqual([])
    await child.kill()
  })

  it('is not kept running by its thread', async () => {
    const child = await holder(thread())
    child.send('stop')
    await child.message('stopped')
    expect(await child.exited).toEqual({ code: 0, signal: null })
  })

  it.each([
    [{ heartbeatThread: true }, 'heartbeatThread needs heartbeatConnection too: the URL of the database'],
    [{ heartbeatConnection: 'postgres://h/d' }, 'set heartbeatThread: true as well'],
    [{ heartbeatThread: true, heartbeatConnection: 'redis://:secret@h' }, 'it is a "redis:" URL'],
    [{ heartbeatThread: true, heartbeatConnection: 'h/d' }, 'heartbeatConnection must be the URL'],
    [{ heartbeatThread: 1 }, 'heartbeatThread must be true or false: 1'],
    [{ maxLoopBlock: 0 }, 'maxLoopBlock must be a positive number'],
    [
      { heartbeatThread: true, heartbeatConnection: 'file:///x.js', maxLoopBlock: 10 },
      'maxLoopBlock (10) must be at least heartbeatInterval (200)',
    ],
    [
      { heartbeatThread: true, heartbeatConnection: onPostgres() ? 'mysql://h/d' : 'postgres://h/d' },
      'must be of the same database as db',
    ],
  ])('is refused for %j', (options, message) => {
    const make = () =>
      new TaskMonitor({
        db: fixture.db,
        adapters: [tableQueueAdapter()],
        ...mortal,
        ...(options as Partial<TaskMonitorOptions>),
      })
    expect(make).toThrow(message)
    expect(make).not.toThrow('secret')
  })
})
