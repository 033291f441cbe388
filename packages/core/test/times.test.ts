import { until } from '@holdfast/chaos'
import {
  DummyDriver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  sql,
} from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ConfigError, type MonitorConfig, TaskMonitor, type TaskMonitorOptions } from '../src/index.js'
import { Fixture } from './support/fixture.js'
import { enqueuedRefs, tableQueueAdapter, taskRows } from './support/table-queue.js'

type Times = Partial<TaskMonitorOptions>

const DAY = 24 * 3_600_000

/** A monitor is made without asking its database anything. */
const db = new Kysely({
  dialect: {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (inner: Kysely<unknown>) => new PostgresIntrospector(inner),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  },
})

const resolved = (times: Times): MonitorConfig =>
  new TaskMonitor({ db, adapters: [tableQueueAdapter()], ...times }).config

function refusalOf(times: Times): string {
  try {
    resolved(times)
  } catch (error) {
    expect(ConfigError.is(error)).toBe(true)
    return (error as Error).message
  }
  throw new Error(`accepted: ${JSON.stringify(times)}`)
}

describe('the times of a monitor', () => {
  it.each<[Times, string]>([
    [
      { gcLockTtl: 30_000, safetyMargin: 30_000, orphanThreshold: 60_000 },
      'gcLockTtl (30000) must be at least',
    ],
    [
      { gcLockTtl: 5_999 },
      'gcLockTtl (5999) must be at least safetyMargin + heartbeatInterval (3000 + 3000)',
    ],
    [
      { heartbeatInterval: 3_000, orphanThreshold: 8_999 },
      'orphanThreshold (8999) must be at least 3 × heart',
    ],
    [
      { heartbeatInterval: 3_000, orphanThreshold: 12_000, safetyMargin: 6_001 },
      'safetyMargin (6001) must leave two heartbeats within orphanThreshold (at most 6000, that is 12000 - 2 × 3000)',
    ],
    [
      { crashWindow: 40_801 },
      'crashWindow (40801) must be at least 40802, twice what passes from one crash of a job to its next: ' +
        'orphanThreshold (12000) + 1.2 × sweepInterval (3000) + its pause (up to 4800, by recoveryBackoff)',
    ],
    [{ crashWindow: 200_000, sweepInterval: 100_000 }, 'maxRecoveries (3) never reached'],
    [{ crashWindow: 100_000, recoveryBackoff: 60_000 }, 'its pause (up to 72000, by recoveryBackoff)'],
    [{ crashWindow: 100_000, maxRecoveries: 30 }, 'its pause (up to 72000, by recoveryBackoff)'],
    [
      { recoveryBackoff: 60_001 },
      'recoveryBackoff must be a positive number of milliseconds, at most 60000: 60001',
    ],
    [{ recoveryRate: 0.01 }, 'recoveryRate must be a number of jobs a second, at least 0.016 (one a minute)'],
    [{ heartbeatInterval: 49 }, 'heartbeatInterval must be a number of milliseconds from 50 to 86400000: 49'],
    [
      { orphanThreshold: DAY + 1 },
      'orphanThreshold must be a positive number of milliseconds, at most 86400000',
    ],
    [
      { sweepInterval: 2 ** 31 - 1 },
      'sweepInterval must be a positive number of milliseconds, at most 1728000000',
    ],
    [{ gcLockTtl: 2 ** 31 - 1 }, 'gcLockTtl must be a positive number of milliseconds, at most 86400000'],
    [
      { maxLoopBlock: 120_000 },
      'maxLoopBlock is for the heartbeat thread: set heartbeatThread: true as well',
    ],
    [{ crashWindow: 45_000, recoveryRate: 0.016 }, 'one recovery (by recoveryRate, 0.016)'],
    // What follows from one is no reason to look at no others.
    [{ orphanThreshold: DAY / 2, safetyMargin: DAY / 2 }, 'must leave two heartbeats within orphanThreshold'],
    [{ heartbeatInterval: 200, safetyMargin: (13 / 24) * DAY, crashWindow: 1 }, 'crashWindow (1) must be'],
    [{ heartbeatInterval: DAY / 2 }, 'must be at least 3 × heartbeatInterval'],
    [{ capacity: 2 ** 31 }, 'capacity must be at most 2147483647'],
  ])('are refused where they would silently disable something: %j', (times, message) => {
    expect(refusalOf(times)).toContain(message)
  })

  it.each<[Times, Times]>([
    [
      { orphanThreshold: 60_000, safetyMargin: 30_000 },
      { gcLockTtl: 66_000, heartbeatInterval: 3_000 },
    ],
    [{ safetyMargin: 20_000 }, { orphanThreshold: 29_000, gcLockTtl: 46_000 }],
    [{ heartbeatInterval: 5_000 }, { orphanThreshold: 20_000, safetyMargin: 5_000, gcLockTtl: 30_000 }],
    [{ heartbeatInterval: 90_000 }, { maxLoopBlock: 90_000, gcLockTtl: 360_000 }],
    [{ orphanThreshold: 6_000 }, { heartbeatInterval: 1_500, safetyMargin: 1_500 }],
    [{ orphanThreshold: 12_000, safetyMargin: 8_000 }, { heartbeatInterval: 2_000 }],
    [{ orphanThreshold: DAY, sweepInterval: DAY }, { crashWindow: 380_169_602 }],
    [{ maxRecoveries: 0, crashWindow: 1 }, { crashWindow: 1 }],
  ])('that are left out follow those that are given: %j', (times, others) => {
    expect(resolved(times)).toMatchObject({ ...times, ...others })
  })

  it('that are null are those that are left out', () => {
    const names = [
      'heartbeatInterval',
      'orphanThreshold',
      'safetyMargin',
      'gcLockTtl',
      'crashWindow',
      'maxLoopBlock',
    ]
    const nothing = Object.fromEntries(
      [...names, 'maxRecoveries', 'recoveryRate'].map((name) => [name, null]),
    )
    expect(resolved(nothing as Times)).toEqual(resolved({}))
  })

  it.each([
    'heartbeatInterval',
    'orphanThreshold',
    'safetyMargin',
    'sweepInterval',
    'recoveryBackoff',
  ] as const)('are accepted where %s alone is set, to whatever it may be', (name) => {
    const most = { heartbeatInterval: DAY / 4, safetyMargin: DAY / 3, recoveryBackoff: 60_000 }
    const upTo = name in most ? most[name as keyof typeof most] : DAY
    for (let value = name === 'orphanThreshold' ? 150 : 50; value <= upTo; value = Math.ceil(value * 1.7)) {
      expect(resolved({ [name]: value })[name]).toBe(value)
    }
  })
})

describe('the times of a monitor, at their limits', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  const edge = { heartbeatInterval: 200, orphanThreshold: 1_000, sweepInterval: 200 }
  it.each<[string, Times]>([
    ['the shortest heartbeat', { heartbeatInterval: 50, orphanThreshold: 1_000 }],
    ['the shortest lease', { ...edge, orphanThreshold: 600 }],
    ['the longest margin', { ...edge, safetyMargin: 600 }],
    ['the shortest lock', { ...edge, orphanThreshold: 2_000, safetyMargin: 1_500, gcLockTtl: 1_700 }],
    ['the longest lock', { ...edge, gcLockTtl: DAY }],
    ['the lowest rate', { ...edge, recoveryRate: 0.016 }],
    ['the highest rate', { ...edge, recoveryRate: Number.POSITIVE_INFINITY, batchSize: 1 }],
    ['a lock shorter than the sweeps are apart', { ...edge, sweepInterval: 1_500, gcLockTtl: 400 }],
    [
      'hardly any margin, sweep and pause',
      { ...edge, safetyMargin: 0.01, sweepInterval: 0.5, recoveryBackoff: 0.5 },
    ],
    [
      'fractions',
      { heartbeatInterval: 200.5, orphanThreshold: 1_000.25, sweepInterval: 200.5, gcLockTtl: 500.75 },
    ],
  ])('let a killed process’s task be recovered: %s', async (_, monitor) => {
    const { child } = await fixture.holder({ refs: ['a'], monitor })
    await fixture.started(monitor)
    await child.kill()
    await until(async () => (await taskRows(fixture.db)).length === 0)
    expect(await enqueuedRefs(fixture.db)).toEqual(['a'])
  })

  it('let a job that kills its processes be found out: crashWindow', async () => {
    const monitor = { orphanThreshold: 1_000, maxRecoveries: 2, recoveryBackoff: 2_000, crashWindow: 12_082 }
    expect(refusalOf({ ...edge, ...monitor, crashWindow: 12_081 })).toContain('at least 12082')
    await fixture.started(monitor)
    for (let crash = 1; crash <= 3; crash++) {
      await sql`delete from jobs`.execute(fixture.db)
      const { child } = await fixture.holder({ refs: ['killer'], monitor })
      await child.kill()
      await until(async () => (await taskRows(fixture.db)).length === 0)
    }
    const { rows } = await sql`select job_ref, crashes from holdfast_quarantine`.execute(fixture.db)
    expect(rows).toEqual([{ job_ref: 'killer', crashes: 3 }])
  })
})
