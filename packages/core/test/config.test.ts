import {
  DummyDriver,
  Kysely,
  type MysqlAdapter,
  MysqlIntrospector,
  MysqlQueryCompiler,
  SqliteAdapter,
} from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ConfigError, TaskMonitor } from '../src/index.js'
import { Fixture } from './support/fixture.js'
import { tableQueueAdapter } from './support/table-queue.js'

describe('the options of a monitor', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it('are refused all at once, each by name with the value it had', () => {
    const wrong = {
      db: fixture.db,
      adapters: [tableQueueAdapter(), tableQueueAdapter()],
      heartbeatInterval: Number.NaN,
      sweepInterval: -1,
      batchSize: 1.5,
      tablePrefix: 'No; drop',
      hartbeat: 1,
    }
    let error: unknown
    try {
      new TaskMonitor(wrong)
    } catch (caught) {
      error = caught
    }
    expect(ConfigError.is(error)).toBe(true)
    const { message } = error as Error
    expect(message).toContain('6 options are wrong')
    for (const part of [
      'heartbeatInterval must be a number of milliseconds from 50 to 86400000: NaN',
      'sweepInterval must be a positive number of milliseconds, at most 1728000000: -1',
      'batchSize must be a whole number of at least 1: 1.5',
      'tablePrefix must match',
      'two adapters are named "table"',
      'there is no option "hartbeat"',
    ]) {
      expect(message).toContain(part)
    }
  })

  it('become a frozen config with the documented defaults', () => {
    const { config } = new TaskMonitor({ db: fixture.db, adapters: [tableQueueAdapter()] })
    expect(config).toEqual({
      heartbeatInterval: 3_000,
      orphanThreshold: 12_000,
      safetyMargin: 3_000,
      sweepInterval: 3_000,
      gcLockTtl: 30_000,
      maxRecoveries: 3,
      crashWindow: 72 * 3_600_000,
      batchSize: 500,
      maxPayloadBytes: 1_048_576,
      recoveryBackoff: 1_000,
      recoveryRate: 1_000,
      onCrash: 'requeue',
      isolateSuspects: true,
      onRegisterFailure: 'throw',
      reserveConnection: true,
      heartbeatThread: false,
      maxLoopBlock: 60_000,
      testing: false,
      historyRetention: 7 * 24 * 3_600_000,
      tablePrefix: 'holdfast_',
    })
    expect(Object.isFrozen(config)).toBe(true)
  })

  it('are refused for a database that is not supported', () => {
    const dialect = (adapter: MysqlAdapter | SqliteAdapter) => ({
      createAdapter: () => adapter,
      createDriver: () => new DummyDriver(),
      createIntrospector: (db: Kysely<unknown>) => new MysqlIntrospector(db),
      createQueryCompiler: () => new MysqlQueryCompiler(),
    })
    const db = new Kysely({ dialect: dialect(new SqliteAdapter()) })
    expect(() => new TaskMonitor({ db, adapters: [tableQueueAdapter()] })).toThrow("isn't supported")
  })

  it('let a monitor be used only once it has started', async () => {
    await expect(fixture.monitor().register({ payload: null })).rejects.toMatchObject({
      code: 'HOLDFAST_NOT_STARTED',
    })
  })

  it.each([
    [{ queue: 'other' }, 'no adapter for the queue "other"'],
    [{ jobRef: '' }, 'jobRef must be a string of 1 to 191 characters'],
    [{ jobRef: 'x'.repeat(192) }, 'jobRef must be'],
    [{ id: 'a\0b' }, 'id must be'],
  ])('register refuses %j', async (options, message) => {
    const monitor = await fixture.started()
    await expect(monitor.register({ payload: null, ...options })).rejects.toThrow(message)
  })

  it('register refuses an id that is in flight already', async () => {
    const monitor = await fixture.started()
    await monitor.register({ payload: null, id: 'x' })
    await expect(monitor.register({ payload: null, id: 'x' })).rejects.toMatchObject({
      code: 'HOLDFAST_CONFIG',
    })
  })
})
